// Compiles and runs what openapi-generator's typescript-fetch has made; client.py gives its folder.
const { cpSync } = require('node:fs');
const { run } = require('../reporting/typescript.js');

run(__dirname, (_, made) => cpSync(process.argv[3], made, { recursive: true }));
