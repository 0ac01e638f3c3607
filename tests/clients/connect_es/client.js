// connect-es in Node.js: every transport that its programs use, and those that browsers' use.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
const node = require('@connectrpc/connect-node');
const web = require('@connectrpc/connect-web');
const { reports } = require('../reporting/report');
const { authorization, drive } = require('./calls');

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// What the service's messages are: what `buf generate` would read too.
const known = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(__dirname, '../../../gen/descriptors.pb'))),
);
const options = {
  baseUrl: dev.rest_tls,
  httpVersion: '2',
  interceptors: [authorization(dev)],
  nodeOptions: { ca: readFileSync(dev.ca) },
};
const plain = {
  baseUrl: dev.rest,
  interceptors: [authorization(dev)],
  jsonOptions: { registry: known },
};
const transports = {
  'grpc-web': node.createGrpcWebTransport(options),
  'connect binary': node.createConnectTransport({ ...options, useBinaryFormat: true }),
  'connect json': node.createConnectTransport({
    ...options,
    useBinaryFormat: false, // as it is by default in browsers alone
    jsonOptions: { registry: known },
  }),
  'web: grpc-web': web.createGrpcWebTransport(plain),
  'web: connect binary': web.createConnectTransport({ ...plain, useBinaryFormat: true }),
  'web: connect json': web.createConnectTransport(plain),
};

async function main() {
  await drive(transports, dev, known);
  for (const report of reports) console.log(JSON.stringify(report));
  process.exit();
}

main();
