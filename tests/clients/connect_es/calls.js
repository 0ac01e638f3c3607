// What is called through each transport of connect-es: unary calls, changes, streams and errors.
const { fromBinary } = require('@bufbuild/protobuf');
const { Code, ConnectError, createClient } = require('@connectrpc/connect');
const { address, call, equal, failure } = require('../reporting/report');

// `dev` is the service's dev.json, `known` a registry of its messages.
async function drive(transports, dev, known) {
  for (const [name, transport] of Object.entries(transports)) {
    await call(name, () => use(transport, dev, known));
    await call(`changes by ${name}`, () => change(transport, dev, known));
    await call(`stream by ${name}`, () => watch(transport, dev, known));
  }
}

function authorization(dev) {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${dev.token}`);
    return next(request);
  };
}

const refusal = async (promise) => ConnectError.from(await failure(promise));

async function use(transport, dev, known) {
  const client = (name) => createClient(known.getService(name), transport);
  const customers = client('yandex.cloud.billing.v1.CustomerService');
  const operations = client('google.longrunning.Operations');
  const begun = await customers.invite(
    {
      resellerId: dev.resellerId,
      name: 'Рога и копыта',
      invitationEmail: address(),
      person: { name: 'Остап' },
    },
    { headers: { 'idempotency-key': crypto.randomUUID() }, timeoutMs: 30_000 },
  );
  const ended = await operations.waitOperation({ name: `operations/${begun.id}` });
  equal([ended.done, ended.result.case], [true, 'response']);
  const listed = await customers.list({ resellerId: dev.resellerId });
  equal(listed.customers.length > 0, true);

  const wrong = await refusal(customers.invite({ resellerId: dev.resellerId, person: {} }));
  equal(wrong.code, Code.InvalidArgument);
  const [info] = wrong.findDetails(known.getMessage('google.rpc.ErrorInfo'));
  equal([info.reason, info.domain], ['FIELDS_INVALID', 'billing.example.com']);
  const [bad] = wrong.findDetails(known.getMessage('google.rpc.BadRequest'));
  equal(bad.fieldViolations.length >= 2, true);
  const gone = await refusal(operations.getOperation({ name: 'operations/bop00000000000000000' }));
  equal(gone.code, Code.NotFound);
}

// What JSON writes otherwise: masks, lengths of time, maps, bytes that are any message, one of several.
async function change(transport, dev, known) {
  const client = (name) => createClient(known.getService(`billing.v1.${name}`), transport);
  const customers = client('CustomerService');
  const invitations = client('InvitationService');
  const webhooks = client('WebhookService');
  const parent = `resellers/${dev.resellerId}`;
  const made = await customers.createCustomer({
    parent,
    customer: { displayName: 'Рога', person: { name: 'Остап', postCode: '1' }, labels: { край: 'юг' } },
  });
  const changed = await customers.updateCustomer({
    customer: { name: made.name, etag: made.etag, person: { postCode: '2' } },
    updateMask: { paths: ['person.post_code'] },
  });
  equal([changed.person.name, changed.person.postCode, changed.labels], ['Остап', '2', { край: 'юг' }]);
  const stale = await refusal(customers.deleteCustomer({ name: made.name, etag: made.etag }));
  equal(stale.code, Code.Aborted);
  const [info] = stale.findDetails(known.getMessage('google.rpc.ErrorInfo'));
  equal([info.reason, info.metadata.etag], ['ETAG_STALE', changed.etag]);

  const begun = await customers.inviteCustomer({
    parent,
    customer: { displayName: 'Рога', email: address() },
    deliveryMethod: 2,
    timeToLive: { seconds: 7200n, nanos: 500_000_000 },
    note: 'Одна строка\nи другая',
  });
  const Metadata = known.getMessage('billing.v1.InviteCustomerMetadata');
  const { invitation: name } = fromBinary(Metadata, begun.metadata.value);
  const sent = await invitations.getInvitation({ name });
  equal([sent.timeToLive.seconds === 7200n, sent.timeToLive.nanos], [true, 500_000_000]);
  const { uri } = await invitations.createInvitationLink({ name });
  const accepted = await invitations.acceptInvitation({ token: uri.split('/').pop() });
  equal([accepted.state, accepted.note], [2, 'Одна строка\nи другая']);

  const hook = await webhooks.createWebhook({
    parent,
    webhook: { url: 'https://example.com/hook', types: ['customer.created'], state: 2 },
  });
  const rotated = await webhooks.rotateWebhookSecret({ name: hook.name, overlap: {} });
  equal(rotated.secret.startsWith('whsec_') && rotated.secret !== hook.secret, true);
  const off = await refusal(
    webhooks.redeliverEvents({ name: hook.name, events: { case: 'after', value: '' } }),
  );
  equal(off.code, Code.FailedPrecondition);
  await webhooks.deleteWebhook({ name: hook.name });
}

async function watch(transport, dev, known) {
  const events = createClient(known.getService('billing.v1.EventService'), transport);
  const parent = `resellers/${dev.resellerId}`;
  const ids = [];
  for await (const message of events.watchEvents({ parent }, { timeoutMs: 30_000 })) {
    equal(message.position.slice(0, 3), 'evt');
    if (message.event) ids.push(message.position);
    if (ids.length === 2) break;
  }
  for await (const message of events.watchEvents({ parent, after: ids[0] })) {
    if (!message.event) continue;
    equal(message.event.name, `${parent}/events/${ids[1]}`);
    break;
  }
  const whole = async (request) => {
    for await (const _ of events.watchEvents(request));
  };
  const refused = await refusal(whole({ parent: 'resellers/bac00000000000000000' }));
  equal(refused.code, Code.PermissionDenied);
  const [info] = refused.findDetails(known.getMessage('google.rpc.ErrorInfo'));
  equal(info.domain, 'billing.example.com');
  const stale = await refusal(whole({ parent, filter: 'colour = red' }));
  equal(stale.code, Code.InvalidArgument);
  const [bad] = stale.findDetails(known.getMessage('google.rpc.BadRequest'));
  equal(bad.fieldViolations[0].field, 'filter');
}

module.exports = { authorization, drive };
