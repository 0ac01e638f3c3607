// The official Node.js SDK: every call that a reseller's program makes, and those that go wrong.
const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { Session, waitForOperation } = require('@yandex-cloud/nodejs-sdk');
const { billingAccountService, customer, customerService } = require('@yandex-cloud/nodejs-sdk/billing-v1');
const { apiEndpointService } = require('@yandex-cloud/nodejs-sdk/endpoint');
const { operationService } = require('@yandex-cloud/nodejs-sdk/operation');
const { Metadata } = require('nice-grpc');

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const endpoint = dev.rest_tls.replace('https://', '');
const session = new Session({ iamToken: dev.token, ssl: { rootCerts: readFileSync(dev.ca) } });
const customers = session.client(customerService.CustomerServiceClient, endpoint);
const operations = session.client(operationService.OperationServiceClient, endpoint);

async function call(name, run) {
  let note = '';
  try {
    await run();
  } catch (error) {
    note = error instanceof Error ? String(error) : JSON.stringify(error);
  }
  console.log(JSON.stringify({ call: name, ok: !note, note }));
}

const request = (who = 'ostap') =>
  customerService.InviteCustomerRequest.fromPartial({
    resellerId: dev.resellerId,
    name: 'Рога и копыта',
    invitationEmail: `${who}-${randomUUID()}@example.com`,
    person: { name: 'Остап', phone: '+7 495 123-45-67', tin: '7707083893' },
  });

/** Waits as the SDK does and checks the types of metadata and response. */
async function customerOf(begun) {
  const ended = await waitForOperation(begun, session, 60_000, endpoint);
  assert.equal(ended.response.typeUrl, 'type.googleapis.com/yandex.cloud.billing.v1.Customer');
  const found = customer.Customer.decode(ended.response.value);
  const about = customerService.CustomerMetadata.decode(ended.metadata.value);
  assert.deepEqual([about.resellerId, about.customerId], [dev.resellerId, found.id]);
  assert.ok(found.id && found.billingAccountId);
  return found.id;
}

/** Waits as the SDK does and returns the code that the operation failed with. */
async function failureOf(begun) {
  try {
    await waitForOperation(begun, session, 60_000, endpoint);
  } catch (operation) {
    return operation.error.code;
  }
  throw new Error('the operation did not fail');
}

async function listed() {
  const ids = [];
  let pageToken = '';
  do {
    const page = await customers.list(
      customerService.ListCustomersRequest.fromPartial({
        resellerId: dev.resellerId,
        pageSize: 2,
        pageToken,
      }),
    );
    ids.push(...page.customers.map(({ id }) => id));
    pageToken = page.nextPageToken;
  } while (pageToken);
  return ids;
}

async function main() {
  let invited;
  let created;

  await call('discovery', async () => {
    const discovery = session.client(apiEndpointService.ApiEndpointServiceClient, endpoint);
    const { endpoints } = await discovery.list(
      apiEndpointService.ListApiEndpointsRequest.fromPartial({}),
    );
    assert.deepEqual(
      endpoints.map(({ id, address }) => [id, address]),
      ['billing', 'endpoint', 'iam', 'operation'].map((id) => [id, endpoint]),
    );
  });

  await call('invite', async () => {
    invited = await customerOf(await customers.invite(request()));
  });

  await call('create', async () => {
    created = await customerOf(
      await customers.createResellerServed(
        customerService.CreateResellerServedCustomerRequest.fromPartial({
          resellerId: dev.resellerId,
          name: 'Геркулес',
          person: { name: 'П' },
        }),
      ),
    );
  });

  await call('list', async () => {
    assert.deepEqual((await listed()).slice(0, 2), [created, invited]);
  });

  for (const [name, Request] of [
    ['suspend', customerService.SuspendCustomerRequest],
    ['activate', customerService.ActivateCustomerRequest],
  ]) {
    await call(name, async () => {
      for (let time = 0; time < 2; time += 1) {
        const begun = await customers[name](Request.fromPartial({ customerId: created }));
        assert.equal(await customerOf(begun), created);
      }
    });
  }

  await call('billing accounts', async () => {
    const accounts = session.client(billingAccountService.BillingAccountServiceClient, endpoint);
    const { billingAccounts } = await accounts.list(
      billingAccountService.ListBillingAccountsRequest.fromPartial({ pageSize: 2 }),
    );
    assert.deepEqual(
      billingAccounts.map(({ id }) => id),
      [dev.resellerId, `bac${created.slice(3)}`],
    );
    const shown = await accounts.get(
      billingAccountService.GetBillingAccountRequest.fromPartial({ id: billingAccounts[1].id }),
    );
    assert.deepEqual(shown, billingAccounts[1]);
    assert.deepEqual([shown.name, shown.active, shown.balance], ['Геркулес', true, '0']);
  });

  await call('access bindings', async () => {
    const accounts = session.client(billingAccountService.BillingAccountServiceClient, endpoint);
    const binding = {
      roleId: 'billing.accounts.viewer',
      subject: { id: 'auth0|node', type: 'userAccount' },
    };
    const resourceId = dev.resellerId;
    for (const [action, isThere] of [[1, true], [2, false]]) {
      const begun = await accounts.updateAccessBindings({
        resourceId,
        accessBindingDeltas: [{ action, accessBinding: binding }],
      });
      const ended = await waitForOperation(begun, session, 60_000, endpoint);
      assert.equal(ended.response.typeUrl, 'type.googleapis.com/google.protobuf.Empty');
      assert.equal(
        ended.metadata.typeUrl,
        'type.googleapis.com/yandex.cloud.access.UpdateAccessBindingsMetadata',
      );
      const { accessBindings } = await accounts.listAccessBindings({
        resourceId,
        pageSize: 100,
        pageToken: '',
      });
      const found = accessBindings.map(({ roleId, subject }) => [roleId, subject.id, subject.type]);
      const wanted = [binding.roleId, binding.subject.id, binding.subject.type];
      assert.equal(found.some((each) => String(each) === String(wanted)), isThere);
    }
  });

  await call('failed operation', async () => {
    assert.equal(await failureOf(await customers.invite(request('refused'))), 9);
  });

  await call('cancel', async () => {
    const begun = await customers.invite(request('later'));
    assert.equal(begun.done, false);
    await operations.cancel(
      operationService.CancelOperationRequest.fromPartial({ operationId: begun.id }),
    );
    assert.equal(await failureOf(begun), 1);
    assert.equal((await listed())[0], created);
  });

  await call('retry', async () => {
    const dropping = session.client(customerService.CustomerServiceClient, dev.dropping);
    let lost;
    const begun = await dropping.invite(request(), {
      metadata: Metadata({ 'idempotency-key': randomUUID() }),
      retry: true,
      retryMaxAttempts: 3,
      onTrailer: (trailer) => {
        lost = trailer.get('x-lost-operation');
      },
    });
    assert.equal(begun.id, lost);
  });

  process.exit(); // the SDK leaves its connections open
}

main();
