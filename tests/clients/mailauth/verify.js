// Verifies an e-mail from standard input; DNS has the TXT records of RECORDS, a JSON object.
const { readFileSync } = require('node:fs');
const { dkimVerify } = require('mailauth/lib/dkim/verify');

const records = JSON.parse(process.env.RECORDS);
const resolver = async (name, kind) => {
  if (kind !== 'TXT' || !(name in records)) throw Object.assign(new Error(name), { code: 'ENOTFOUND' });
  return [[records[name]]];
};

dkimVerify(readFileSync(0), { resolver }).then(({ results }) => {
  const told = results.map(({ algo, selector, status, signingDomain }) => ({
    algorithm: algo,
    selector,
    domain: signingDomain,
    result: status.result,
  }));
  console.log(JSON.stringify(told));
});
