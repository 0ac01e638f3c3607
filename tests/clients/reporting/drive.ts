// Invites with a generated client, waits, and repeats with the key; says how each call went.
import * as assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const dev = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as {
  rest: string;
  token: string;
  resellerId: string;
};

export interface Operation {
  name: string;
  done: boolean;
  response?: unknown;
}

// `invite` rejects where the call is refused.
export interface Client {
  invite(email: string, key: string): Promise<Operation>;
  operation(id: string): Promise<Operation>;
}

const address = () => `ostap-${randomUUID()}@example.com`;

async function call(name: string, run: () => Promise<void>): Promise<void> {
  let note = '';
  try {
    await run();
  } catch (error) {
    note = error instanceof Error ? String(error.stack) : JSON.stringify(error);
  }
  console.log(JSON.stringify({ call: name, ok: !note, note }));
}

export async function drive(client: Client): Promise<void> {
  const [email, key] = [address(), randomUUID()];
  let begun = '';
  await call('invite and wait', async () => {
    let operation = await client.invite(email, key);
    begun = operation.name;
    for (const until = Date.now() + 60_000; !operation.done && Date.now() < until; ) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      operation = await client.operation(begun.replace('operations/', ''));
    }
    const response = operation.response as { email?: string } | undefined;
    assert.equal(response?.email, email);
  });
  await call('repeat with a key', async () => {
    assert.equal((await client.invite(email, key)).name, begun);
    await assert.rejects(client.invite(address(), key));
  });
}
