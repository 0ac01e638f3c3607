import { drive, dev } from './drive';
import { client } from './made/client.gen';
import { customerServiceInviteCustomer, operationsGetOperation } from './made/sdk.gen';

client.setConfig({ baseUrl: dev.rest, auth: () => dev.token, throwOnError: true });

drive({
  async invite(email, key) {
    const { data } = await customerServiceInviteCustomer({
      path: { resellersId: dev.resellerId },
      headers: { 'Idempotency-Key': key },
      body: { customer: { displayName: 'Рога и копыта', email, person: { name: 'Остап' } } },
      throwOnError: true,
    });
    return data;
  },
  async operation(id) {
    return (await operationsGetOperation({ path: { operationsId: id }, throwOnError: true })).data;
  },
});
