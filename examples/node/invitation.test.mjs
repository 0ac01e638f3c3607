import assert from 'node:assert';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const folder = mkdtempSync(`${tmpdir()}/billing-`);
let sandbox, rest, reseller;

const call = async (method, path, body) => {
  const headers = { authorization: `Bearer ${reseller?.token}`, 'content-type': 'application/json' };
  const answer = await fetch(rest + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
};

before(async () => {
  const words = ['dev', '--var', folder, '--ports', 'auto', '--until-eof'];
  sandbox = spawn('billing-server', words, { stdio: ['pipe', 'ignore', 'inherit'] });
  while (!existsSync(`${folder}/dev.json`)) await sleep(50);
  rest = JSON.parse(readFileSync(`${folder}/dev.json`)).rest;
  reseller = await call('POST', '/sandbox/v1/resellers', {});
});

after(() => sandbox.stdin.end()); // it stops with its standard input

test('an invitation is accepted', async () => {
  const invitationEmail = 'accept@sandbox.example';
  const customer = { name: 'Horns and Hooves', invitationEmail, person: { name: 'Ostap' } };
  await call('POST', '/billing/v1/customers:invite', { resellerId: reseller.resellerId, ...customer });
  await call('POST', '/sandbox/v1/clock:advance', { duration: '1s' });
  const { emails } = await call('GET', `/sandbox/v1/emails?to=${invitationEmail}`);
  assert.match(emails[0].link, /^http:/);
  const { events } = await call('GET', `/v1/resellers/${reseller.resellerId}/events`);
  assert.ok(events.some((event) => event.type === 'invitation.accepted'));
});
