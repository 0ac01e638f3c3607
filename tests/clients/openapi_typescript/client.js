// Types that openapi-typescript makes of /openapi.json, and openapi-fetch, which calls by them.
const { execFileSync } = require('node:child_process');
const { mkdirSync } = require('node:fs');
const { join } = require('node:path');
const { run } = require('../reporting/typescript.js');

run(__dirname, (document, made) => {
  mkdirSync(made);
  const generator = join(process.env.NODE_PATH, '.bin', 'openapi-typescript');
  execFileSync(generator, [document, '-o', join(made, 'schema.ts')], { stdio: 'pipe' });
});
