// What is called with grpc-web's own client, in binary and in text: unary calls, and an error with its
// details; a stream, which it reads in text alone.
const { create, fromBinary, toBinary } = require('@bufbuild/protobuf');
const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = require('grpc-web');
const { address, equal, failure } = require('../reporting/report');

const INVITE = '/yandex.cloud.billing.v1.CustomerService/Invite';
const GET = '/yandex.cloud.operation.OperationService/Get';
const WATCH = '/billing.v1.EventService/WatchEvents';

function described(known, path, type) {
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

const metadata = (dev) => ({ authorization: `Bearer ${dev.token}` });

// `format` is "binary" or "text", `dev` the service's dev.json, `known` a registry of its messages.
async function use(format, dev, known) {
  const client = new GrpcWebClientBase({ format });
  const unary = (path, message, more = {}) => {
    const method = described(known, path, MethodType.UNARY);
    return client.unaryCall(dev.rest + path, message, { ...metadata(dev), ...more }, method);
  };
  const begun = await unary(
    INVITE,
    {
      resellerId: dev.resellerId,
      name: 'Рога и копыта',
      invitationEmail: address(),
      person: { name: 'Остап' },
    },
    { 'idempotency-key': crypto.randomUUID() },
  );
  equal((await unary(GET, { operationId: begun.id })).id, begun.id);
  const wrong = await failure(unary(INVITE, { resellerId: dev.resellerId }));
  equal(wrong.code, StatusCode.INVALID_ARGUMENT);
  const packed = atob(wrong.metadata['grpc-status-details-bin']);
  const bytes = Uint8Array.from(packed, (byte) => byte.charCodeAt(0));
  const status = fromBinary(known.getMessage('google.rpc.Status'), bytes);
  const kinds = status.details.map((each) => each.typeUrl.split('/').pop());
  equal(kinds.includes('google.rpc.ErrorInfo'), true);
}

async function watch(dev, known) {
  const client = new GrpcWebClientBase({ format: 'text' });
  const method = described(known, WATCH, MethodType.SERVER_STREAMING);
  const stream = (reseller) => {
    const asked = { parent: `resellers/${reseller}` };
    return client.serverStreaming(dev.rest + WATCH, asked, metadata(dev), method);
  };
  const opened = stream(dev.resellerId);
  await new Promise((resolve, reject) => {
    opened.on('error', reject);
    opened.on('data', (message) => message.event && resolve());
  });
  opened.cancel();
  const refused = stream('bac00000000000000000');
  const error = await new Promise((resolve) => refused.on('error', resolve));
  equal(error.code, StatusCode.PERMISSION_DENIED);
  equal(typeof error.metadata['grpc-status-details-bin'], 'string');
}

module.exports = { use, watch };
