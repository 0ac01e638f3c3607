// connect-es: every transport that browsers' programs use, unary calls, streams and errors.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
const { Code, ConnectError, createClient } = require('@connectrpc/connect');
const node = require('@connectrpc/connect-node');
const web = require('@connectrpc/connect-web');

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// What the service's messages are: what `buf generate` would read too.
const known = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(__dirname, '../../../gen/descriptors.pb'))),
);
const authorize = (next) => (request) => {
  request.header.set('authorization', `Bearer ${dev.token}`);
  return next(request);
};
const options = {
  baseUrl: dev.rest_tls,
  httpVersion: '2',
  interceptors: [authorize],
  nodeOptions: { ca: readFileSync(dev.ca) },
};
const plain = {
  baseUrl: dev.rest,
  interceptors: [authorize],
  jsonOptions: { registry: known },
};
const transports = {
  'grpc-web': node.createGrpcWebTransport(options),
  'connect binary': node.createConnectTransport({ ...options, useBinaryFormat: true }),
  'connect json': node.createConnectTransport({ ...options, jsonOptions: { registry: known } }),
  'web: grpc-web': web.createGrpcWebTransport(plain),
  'web: connect binary': web.createConnectTransport({ ...plain, useBinaryFormat: true }),
  'web: connect json': web.createConnectTransport(plain),
};

async function call(name, run) {
  let note = '';
  try {
    await run();
  } catch (error) {
    note = error instanceof Error ? String(error.stack) : JSON.stringify(error);
  }
  console.log(JSON.stringify({ call: name, ok: !note, note }));
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error('the call did not fail');
}

async function use(transport) {
  const client = (name) => createClient(known.getService(name), transport);
  const customers = client('yandex.cloud.billing.v1.CustomerService');
  const operations = client('google.longrunning.Operations');
  const begun = await customers.invite(
    {
      resellerId: dev.resellerId,
      name: 'Рога и копыта',
      invitationEmail: `ostap-${randomUUID()}@example.com`,
      person: { name: 'Остап' },
    },
    { headers: { 'idempotency-key': randomUUID() } },
  );
  const ended = await operations.waitOperation({ name: `operations/${begun.id}` });
  assert.equal(ended.done, true);
  assert.equal(ended.result.case, 'response');
  const listed = await customers.list({ resellerId: dev.resellerId });
  assert.ok(listed.customers.length);

  const wrong = await failure(customers.invite({ resellerId: dev.resellerId, person: {} }));
  assert.equal(wrong.code, Code.InvalidArgument);
  const [info] = wrong.findDetails(known.getMessage('google.rpc.ErrorInfo'));
  assert.deepEqual([info.reason, info.domain], ['FIELDS_INVALID', 'billing.example.com']);
  const [bad] = wrong.findDetails(known.getMessage('google.rpc.BadRequest'));
  assert.ok(bad.fieldViolations.length >= 2);
  const gone = await failure(operations.getOperation({ name: 'operations/bop00000000000000000' }));
  assert.equal(gone.code, Code.NotFound);
}

async function watch(transport) {
  const service = known.getService('billing.v1.EventService');
  const events = createClient(service, transport);
  const parent = `resellers/${dev.resellerId}`;
  const ids = [];
  for await (const message of events.watchEvents({ parent })) {
    assert.match(message.position, /^evt\w+$/);
    if (message.event) ids.push(message.position);
    if (ids.length === 2) break;
  }
  for await (const message of events.watchEvents({ parent, after: ids[0] })) {
    if (!message.event) continue;
    assert.equal(message.event.name, `${parent}/events/${ids[1]}`);
    break;
  }
  const refused = await failure(
    (async () => {
      for await (const _ of events.watchEvents({ parent: 'resellers/bac00000000000000000' }));
    })(),
  );
  assert.equal(refused.code, Code.PermissionDenied);
  const [info] = refused.findDetails(known.getMessage('google.rpc.ErrorInfo'));
  assert.equal(info.domain, 'billing.example.com');
  const stale = await failure(
    (async () => {
      for await (const _ of events.watchEvents({ parent, filter: 'colour = red' }));
    })(),
  );
  assert.equal(stale.code, Code.InvalidArgument);
  const [bad] = stale.findDetails(known.getMessage('google.rpc.BadRequest'));
  assert.equal(bad.fieldViolations[0].field, 'filter');
}

async function main() {
  for (const [name, transport] of Object.entries(transports)) await call(name, () => use(transport));
  for (const [name, transport] of Object.entries(transports))
    await call(`stream by ${name}`, () => watch(transport));
  process.exit();
}

main();
