// On a page: what the clients of both protocols call from there.
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
const { createClient } = require('@connectrpc/connect');
const web = require('@connectrpc/connect-web');
const { authorization, drive } = require('../connect_es/calls');
const grpcWeb = require('../grpc_web/calls');
const { call, equal, failure, reports } = require('../reporting/report');

async function described() {
  const answer = await fetch('/descriptors.pb');
  const files = fromBinary(FileDescriptorSetSchema, new Uint8Array(await answer.arrayBuffer()));
  return createFileRegistry(files);
}

function transports(dev, known) {
  const options = {
    baseUrl: dev.rest_tls,
    interceptors: [authorization(dev)],
    jsonOptions: { registry: known },
  };
  return {
    'connect-web: grpc-web': web.createGrpcWebTransport(options),
    'connect-web: connect binary': web.createConnectTransport({ ...options, useBinaryFormat: true }),
    'connect-web: connect json': web.createConnectTransport(options),
  };
}

// The page's origin may call.
window.calls = async (dev) => {
  const known = await described();
  await drive(transports(dev, known), dev, known);
  await call('grpc-web: binary', () => grpcWeb.use('binary', dev, known));
  await call('grpc-web: text', () => grpcWeb.use('text', dev, known));
  await call('grpc-web: stream in text', () => grpcWeb.watch(dev, known));
  return reports;
};

// The page's origin may not.
window.refusals = async (dev) => {
  const known = await described();
  const service = known.getService('yandex.cloud.billing.v1.CustomerService');
  for (const [name, transport] of Object.entries(transports(dev, known)))
    await call(`${name}, from another origin`, async () => {
      const refused = await failure(
        createClient(service, transport).list({ resellerId: dev.resellerId }),
      );
      equal(refused.rawMessage, 'Failed to fetch');
    });
  return reports;
};
