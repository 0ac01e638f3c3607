// Has a generator make a client of /openapi.json, compiles it strictly together with calls.ts of the
// generator's folder, and runs these. What calls.ts reports is one JSON line a call.
const { execFileSync, spawnSync } = require('node:child_process');
const { copyFileSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const STRICT = {
  strict: true,
  target: 'es2022',
  module: 'commonjs',
  moduleResolution: 'node10',
  ignoreDeprecations: '5.0',
  lib: ['es2022', 'dom', 'dom.iterable'],
  types: ['node'],
  outDir: 'out',
};

// `generate` is called with the path of the document and that of the folder for the client.
async function run(folder, generate) {
  const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
  const modules = process.env.NODE_PATH;
  const place = mkdtempSync(join(tmpdir(), 'generated-'));
  const document = join(place, 'openapi.json');
  let note = '';
  try {
    writeFileSync(document, await (await fetch(`${dev.rest}/openapi.json`)).text());
    generate(document, join(place, 'made'));
    copyFileSync(join(folder, 'calls.ts'), join(place, 'calls.ts'));
    copyFileSync(join(__dirname, 'drive.ts'), join(place, 'drive.ts'));
    symlinkSync(modules, join(place, 'node_modules'));
    const project = { compilerOptions: STRICT, include: ['calls.ts', 'made/**/*.ts'] };
    writeFileSync(join(place, 'tsconfig.json'), JSON.stringify(project));
    execFileSync(join(modules, '.bin', 'tsc'), ['-p', place], { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    note = `${error.message}\n${error.stdout ?? ''}`;
  }
  console.log(JSON.stringify({ call: 'generate and compile', ok: !note, note }));
  if (note) process.exit(0);
  const calls = spawnSync('node', [join(place, 'out', 'calls.js'), process.argv[2]], { stdio: 'inherit' });
  process.exit(calls.status ?? 1);
}

module.exports = { run };
