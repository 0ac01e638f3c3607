// grpc-web's own client, in binary and in text: unary calls, and an error with its details; a stream, which
// it reads in text alone.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { create, createFileRegistry, fromBinary, toBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
// The one gives what has come of an answer as it comes, the other bytes.
const { XMLHttpRequest: Gradual } = require('xmlhttprequest');
const Binary = require('xhr2');
const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = require('grpc-web');

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// What the service's messages are: what a generator would read too.
const known = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(__dirname, '../../../gen/descriptors.pb'))),
);
const metadata = { authorization: `Bearer ${dev.token}` };

function described(path, type = MethodType.UNARY) {
  const [, service, name] = path.split('/');
  const method = known.getService(service).methods.find((each) => each.name === name);
  return new MethodDescriptor(
    path,
    type,
    Object,
    Object,
    (message) => toBinary(method.input, create(method.input, message)),
    (bytes) => fromBinary(method.output, bytes),
  );
}

const INVITE = '/yandex.cloud.billing.v1.CustomerService/Invite';

function unary(client, path, message, more = {}) {
  return client.unaryCall(dev.rest + path, message, { ...metadata, ...more }, described(path));
}

async function use(client) {
  const begun = await unary(
    client,
    INVITE,
    {
      resellerId: dev.resellerId,
      name: 'Рога и копыта',
      invitationEmail: `ostap-${randomUUID()}@example.com`,
      person: { name: 'Остап' },
    },
    { 'idempotency-key': randomUUID() },
  );
  const operations = '/yandex.cloud.operation.OperationService/Get';
  assert.equal((await unary(client, operations, { operationId: begun.id })).id, begun.id);
  const wrong = await unary(client, INVITE, { resellerId: dev.resellerId }).then(assert.fail, (e) => e);
  assert.equal(wrong.code, StatusCode.INVALID_ARGUMENT);
  const packed = Buffer.from(wrong.metadata['grpc-status-details-bin'], 'base64');
  const status = fromBinary(known.getMessage('google.rpc.Status'), packed);
  assert.ok(status.details.some((each) => each.typeUrl.endsWith('google.rpc.ErrorInfo')));
}

const WATCH = '/billing.v1.EventService/WatchEvents';

async function watch(client) {
  const method = described(WATCH, MethodType.SERVER_STREAMING);
  const stream = (reseller) =>
    client.serverStreaming(dev.rest + WATCH, { parent: `resellers/${reseller}` }, metadata, method);
  const opened = stream(dev.resellerId);
  await new Promise((resolve, reject) => {
    opened.on('error', reject);
    opened.on('data', (message) => message.event && resolve());
  });
  opened.cancel();
  const refused = stream('bac00000000000000000');
  const error = await new Promise((resolve) => refused.on('error', resolve));
  assert.equal(error.code, StatusCode.PERMISSION_DENIED);
  assert.ok(error.metadata['grpc-status-details-bin']);
}

async function call(name, run) {
  let note = '';
  try {
    await run();
  } catch (error) {
    note = error instanceof Error ? String(error.stack) : JSON.stringify(error);
  }
  console.log(JSON.stringify({ call: name, ok: !note, note }));
}

async function main() {
  globalThis.XMLHttpRequest = Binary;
  await call('binary', () => use(new GrpcWebClientBase({ format: 'binary' })));
  await call('text', () => use(new GrpcWebClientBase({ format: 'text' })));
  globalThis.XMLHttpRequest = Gradual;
  await call('stream in text', () => watch(new GrpcWebClientBase({ format: 'text' })));
  process.exit();
}

main();
