const http = require('node:http');
const { Webhook } = require('standardwebhooks');

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const handled = new Set(); // an event may come again: keep the IDs where you keep what it changes

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let event;
  try {
    event = webhook.verify(Buffer.concat(chunks).toString(), request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  if (!handled.has(event.id)) {
    console.log(event.type, event.subject ?? '-', event.data.name);
    handled.add(event.id);
  }
  response.writeHead(204).end();
});
server.listen(process.env.PORT ?? 8000, '127.0.0.1');
