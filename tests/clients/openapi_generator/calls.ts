import { drive, dev } from './drive';
import { BillingV1CustomerServiceApi, Configuration, GoogleLongrunningOperationsApi } from './made';

const configuration = new Configuration({ basePath: dev.rest, accessToken: dev.token });
const customers = new BillingV1CustomerServiceApi(configuration);
const operations = new GoogleLongrunningOperationsApi(configuration);

drive({
  invite: (email, key) =>
    customers.customerServiceInviteCustomer({
      resellersId: dev.resellerId,
      idempotencyKey: key,
      customerServiceInviteCustomerRequest: {
        customer: { displayName: 'Рога и копыта', email, person: { name: 'Остап' } },
      },
    }),
  operation: (id) => operations.operationsGetOperation({ operationsId: id }),
});
