import createClient from 'openapi-fetch';
import { drive, dev } from './drive';
import type { paths } from './made/schema';

const client = createClient<paths>({
  baseUrl: dev.rest,
  headers: { authorization: `Bearer ${dev.token}` },
});

drive({
  async invite(email, key) {
    const { data, error } = await client.POST('/v1/resellers/{resellersId}/customers:invite', {
      params: { path: { resellersId: dev.resellerId }, header: { 'Idempotency-Key': key } },
      body: { customer: { displayName: 'Рога и копыта', email, person: { name: 'Остап' } } },
    });
    if (!data) throw new Error(error.error.message);
    return data;
  },
  async operation(id) {
    const { data, error } = await client.GET('/v1/operations/{operationsId}', {
      params: { path: { operationsId: id } },
    });
    if (!data) throw new Error(error.error.message);
    return data;
  },
});
