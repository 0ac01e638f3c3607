const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { Session, waitForOperation } = require('@yandex-cloud/nodejs-sdk');

let billing;
try {
  billing = require('@yandex-cloud/nodejs-sdk/billing-v1');
} catch {
  // Below Node.js 22.15 npm takes an old release without a word, unless it is told which.
  console.error('too old an SDK, without billing: npm install @yandex-cloud/nodejs-sdk@3.2.0');
  process.exit(1);
}
const { customer, customerService } = billing;

const dev = JSON.parse(readFileSync(`${process.env.BILLING_VAR ?? 'var'}/dev.json`, 'utf8'));
const endpoint = dev.rest_tls.replace('https://', '');
const session = new Session({ iamToken: dev.token, ssl: { rootCerts: readFileSync(dev.ca) } });

async function main() {
  const customers = session.client(customerService.CustomerServiceClient, endpoint);
  const begun = await customers.invite(
    customerService.InviteCustomerRequest.fromPartial({
      resellerId: dev.resellerId,
      name: 'Horns and Hooves',
      invitationEmail: `ostap-${randomUUID()}@example.com`,
      person: { name: 'Ostap', phone: '+7 495 123-45-67' },
    }),
  );
  const ended = await waitForOperation(begun, session, 60_000, endpoint);
  const invited = customer.Customer.decode(ended.response.value);
  const about = customerService.CustomerMetadata.decode(ended.metadata.value);
  console.log('customer', invited.id, 'of reseller', about.resellerId);
  process.exit(); // the SDK leaves its connections open
}

main();
