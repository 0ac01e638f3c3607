// A client that @hey-api/openapi-ts makes of /openapi.json.
const { execFileSync } = require('node:child_process');
const { join } = require('node:path');
const { run } = require('../reporting/typescript.js');

run(__dirname, (document, made) => {
  const openapi = join(process.env.NODE_PATH, '.bin', 'openapi-ts');
  execFileSync(openapi, ['-i', document, '-o', made, '-c', '@hey-api/client-fetch'], { stdio: 'pipe' });
});
