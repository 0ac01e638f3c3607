// How JavaScript tells how its calls went, in Node.js and on a page: by what both of them have.

const reports = [];

// Notes how a call went; what comes after it is tried all the same.
async function call(name, run) {
  let note = '';
  try {
    await run();
  } catch (error) {
    note = error instanceof Error ? String(error.stack) : JSON.stringify(error);
  }
  reports.push({ call: name, ok: !note, note });
}

function equal(found, wanted) {
  const [is, should] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (is !== should) throw new Error(`${is} should be ${should}`);
}

// Returns what a promise fails with.
async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the call did not fail');
}

// Returns an address of nobody else's.
const address = () => `ostap-${crypto.randomUUID()}@example.com`;

module.exports = { address, call, equal, failure, reports };
