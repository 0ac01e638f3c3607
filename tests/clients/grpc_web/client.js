// grpc-web's own client in Node.js.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { createFileRegistry, fromBinary } = require('@bufbuild/protobuf');
const { FileDescriptorSetSchema } = require('@bufbuild/protobuf/wkt');
// The one gives what has come of an answer as it comes, the other bytes.
const { XMLHttpRequest: Gradual } = require('xmlhttprequest');
const Binary = require('xhr2');
const { call, reports } = require('../reporting/report');
const { use, watch } = require('./calls');

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// What the service's messages are: what a generator would read too.
const known = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(__dirname, '../../../gen/descriptors.pb'))),
);

async function main() {
  globalThis.XMLHttpRequest = Binary;
  await call('binary', () => use('binary', dev, known));
  await call('text', () => use('text', dev, known));
  globalThis.XMLHttpRequest = Gradual;
  await call('stream in text', () => watch(dev, known));
  for (const report of reports) console.log(JSON.stringify(report));
  process.exit();
}

main();
