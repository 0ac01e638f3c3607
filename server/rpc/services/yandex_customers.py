"""yandex.cloud.billing.v1.CustomerService."""

from functools import partial

from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_pb2

from server.domain.customers import CustomerList, NewCustomer
from server.domain.invitations import NewInvitation
from server.domain.operations import Operation, OperationKind
from server.rpc.messages import operations
from server.rpc.messages.customer_lists import list_scope
from server.rpc.messages.customers import (
    customer_not_found,
    person_fields,
    to_yandex,
    yandex_invite_arguments,
)
from server.rpc.messages.paging import Pages
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.customers import Customers


class YandexCustomerService:
    """yandex.cloud.billing.v1.CustomerService over the use cases."""

    def __init__(self, use_cases: Customers, pages: Pages) -> None:
        self._customers = use_cases
        self._pages = pages

    async def List(
        self, request: customers.ListCustomersRequest, call: CallContext
    ) -> customers.ListCustomersResponse:
        wanted = CustomerList(request.reseller_id)
        page, token = await self._pages.read_part(
            request,
            list_scope(wanted),
            partial(self._customers.page, call.caller, wanted),
            to_yandex,
        )
        return customers.ListCustomersResponse(customers=page, next_page_token=token)

    async def Invite(
        self, request: customers.InviteCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        invited = await self._customers.invite(
            call.caller,
            **yandex_invite_arguments(request),
            request_id=call.request_id,
            key=call.idempotency_key,
        )
        return operations.to_yandex(_made(invited))

    async def CreateResellerServed(
        self, request: customers.CreateResellerServedCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        created = await self._customers.create_reseller_served(
            call.caller,
            reseller_id=request.reseller_id,
            name=request.name,
            person=person_fields(request.person),
            request_id=call.request_id,
            key=call.idempotency_key,
        )
        return operations.to_yandex(_made(created))

    async def Activate(
        self, request: customers.ActivateCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        return await self._change_state(OperationKind.ACTIVATE, request.customer_id, call)

    async def Suspend(
        self, request: customers.SuspendCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        return await self._change_state(OperationKind.SUSPEND, request.customer_id, call)

    async def _change_state(
        self, kind: OperationKind, customer_id: str, call: CallContext
    ) -> operation_pb2.Operation:
        changed = await self._customers.change_state(
            call.caller, kind, customer_id, call.request_id, call.idempotency_key
        )
        if changed is None:
            raise customer_not_found(customer_id, "yandex.cloud.billing.v1.Customer")
        return operations.to_yandex(changed)


def _made(result: NewInvitation | NewCustomer | Operation) -> Operation:
    if not isinstance(result, Operation):
        raise TypeError("the published API has no dry runs")
    return result
