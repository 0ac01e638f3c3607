// What is called through each transport of connect-es: unary calls, streams and errors.
const { Code, ConnectError, createClient } = require('@connectrpc/connect');
const { address, call, equal, failure } = require('../reporting/report');

// `dev` is the service's dev.json, `known` a registry of its messages.
async function drive(transports, dev, known) {
  for (const [name, transport] of Object.entries(transports)) {
    await call(name, () => use(transport, dev, known));
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
