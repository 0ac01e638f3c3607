"""billing.v1.CustomerService."""

from functools import partial

from billing.v1 import customer_pb2
from billing.v1 import customer_service_pb2 as customers
from google.longrunning import operations_pb2

from server.rpc.messages import resource_names as names
from server.rpc.messages.customers import (
    billing_invite_arguments,
    customer_not_found,
    list_scope,
    to_billing,
)
from server.rpc.messages.invitation_options import read_options
from server.rpc.messages.operations import to_longrunning
from server.rpc.messages.paging import Pages
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.customers import Customers
from server.use_cases.operations import Operations


class BillingCustomerService:
    """billing.v1.CustomerService over the use cases."""

    def __init__(self, use_cases: Customers, operations: Operations, pages: Pages) -> None:
        self._customers = use_cases
        self._operations = operations
        self._pages = pages

    async def InviteCustomer(
        self, request: customers.InviteCustomerRequest, call: CallContext
    ) -> operations_pb2.Operation:
        invited = await self._customers.invite(
            call.caller,
            **billing_invite_arguments(request),
            options=read_options(request),
            request_id=call.request_id,
            key=call.idempotency_key,
        )
        return to_longrunning(await self._operations.with_subject(invited))

    async def GetCustomer(
        self, request: customers.GetCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        reseller_id, customer_id = names.parse_name(request.name, names.CUSTOMERS)
        customer = await self._customers.get(call.caller, reseller_id, customer_id)
        if customer is None:
            raise customer_not_found(request.name, "billing.v1.Customer")
        return to_billing(customer)

    async def ListCustomers(
        self, request: customers.ListCustomersRequest, call: CallContext
    ) -> customers.ListCustomersResponse:
        reseller_id = names.parse_parent(request.parent)
        page, token = await self._pages.read(
            request,
            list_scope(reseller_id),
            partial(self._customers.page, call.caller, reseller_id),
            to_billing,
        )
        return customers.ListCustomersResponse(customers=page, next_page_token=token)
