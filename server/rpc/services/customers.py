"""Both customer services over one set of use cases."""

from collections.abc import Callable

from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from google.longrunning import operations_pb2
from yandex.cloud.billing.v1 import customer_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_pb2

from server.domain.customers import Customer
from server.domain.errors import BillingError, Reason, Resource
from server.domain.operations import Operation, OperationKind
from server.rpc.formats import phones
from server.rpc.formats.addresses import normal_address
from server.rpc.messages import paging
from server.rpc.messages import resource_names as names
from server.rpc.messages.operations import google_style, published, timestamp
from server.rpc.messages.paging import MessageT
from server.rpc.pipeline.call_context import CallContext
from server.use_cases.customers import Customers

_PERSON_FIELDS = tuple(customers.CustomerPerson.DESCRIPTOR.fields_by_name)


class CustomerService:
    """yandex.cloud.billing.v1.CustomerService."""

    def __init__(self, use_cases: Customers, pages: paging.Pages) -> None:
        self._customers = use_cases
        self._lists = _Lists(use_cases, pages)

    async def List(
        self, request: customers.ListCustomersRequest, call: CallContext
    ) -> customers.ListCustomersResponse:
        page, token = await self._lists.page(request.reseller_id, request, call, _published)
        return customers.ListCustomersResponse(customers=page, next_page_token=token)

    async def Invite(
        self, request: customers.InviteCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        return published(await _invite(self._customers, request, call))

    async def CreateResellerServed(
        self, request: customers.CreateResellerServedCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        created = await self._customers.create_reseller_served(
            call.caller,
            reseller_id=request.reseller_id,
            name=request.name,
            person=_person(request.person),
            key=call.idempotency_key,
        )
        return published(created)

    async def Activate(
        self, request: customers.ActivateCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        return await self._changed(OperationKind.ACTIVATE, request.customer_id, call)

    async def Suspend(
        self, request: customers.SuspendCustomerRequest, call: CallContext
    ) -> operation_pb2.Operation:
        return await self._changed(OperationKind.SUSPEND, request.customer_id, call)

    async def _changed(
        self, kind: OperationKind, customer_id: str, call: CallContext
    ) -> operation_pb2.Operation:
        operation = await self._customers.change_state(
            call.caller, kind, customer_id, call.idempotency_key
        )
        if operation is None:
            raise _not_found(customer_id)
        return published(operation)


class GoogleCustomerService:
    """billing.v1.CustomerService."""

    def __init__(self, use_cases: Customers, pages: paging.Pages) -> None:
        self._customers = use_cases
        self._lists = _Lists(use_cases, pages)

    async def InviteCustomer(
        self, request: google_customers.InviteCustomerRequest, call: CallContext
    ) -> operations_pb2.Operation:
        return google_style(await _invite(self._customers, request, call))

    async def GetCustomer(
        self, request: google_customers.GetCustomerRequest, call: CallContext
    ) -> google_customer.Customer:
        reseller_id, customer_id = names.parse_name(request.name, names.CUSTOMERS)
        customer = await self._customers.get(call.caller, reseller_id, customer_id)
        if customer is None:
            raise _not_found(request.name, "billing.v1.Customer")
        return _google_style(customer)

    async def ListCustomers(
        self, request: google_customers.ListCustomersRequest, call: CallContext
    ) -> google_customers.ListCustomersResponse:
        reseller_id = names.parse_parent(request.parent)
        page, token = await self._lists.page(reseller_id, request, call, _google_style)
        return google_customers.ListCustomersResponse(customers=page, next_page_token=token)


async def _invite(
    use_cases: Customers,
    request: customers.InviteCustomerRequest | google_customers.InviteCustomerRequest,
    call: CallContext,
) -> Operation:
    return await use_cases.invite(
        call.caller,
        reseller_id=request.reseller_id,
        name=request.name,
        email=normal_address(request.invitation_email),
        person=_person(request.person),
        key=call.idempotency_key,
    )


class _Lists:
    """Both services' lists of a reseller's customers; a page token of one is good for the other."""

    def __init__(self, use_cases: Customers, pages: paging.Pages) -> None:
        self._customers = use_cases
        self._pages = pages

    async def page(
        self,
        reseller_id: str,
        request: customers.ListCustomersRequest | google_customers.ListCustomersRequest,
        call: CallContext,
        message_of: Callable[[Customer], MessageT],
    ) -> tuple[list[MessageT], str]:
        """Returns a page of customers and the next page's token."""
        size = paging.page_size(request.page_size)
        scope = ("customers", reseller_id)
        after = self._pages.cursor(request.page_token, *scope)
        rows = await self._customers.page(call.caller, reseller_id, size + 1, after)
        return await self._pages.page(rows, size, scope, message_of)


def _published(customer: Customer) -> customer_pb2.Customer:
    return customer_pb2.Customer(id=customer.id, billing_account_id=customer.billing_account_id)


def _google_style(customer: Customer) -> google_customer.Customer:
    return google_customer.Customer(
        name=names.name(customer.reseller_id, names.CUSTOMERS, customer.id),
        display_name=customer.name,
        state=google_customer.Customer.State.Value(customer.state.name),
        email=customer.email or "",
        person=_person_for_programs(customer.person),
        billing_account_id=customer.billing_account_id,
        create_time=timestamp(customer.created_at),
        update_time=timestamp(customer.modified_at),
    )


def _person_for_programs(person: dict[str, str]) -> customers.CustomerPerson:
    message = customers.CustomerPerson(**person)
    if message.phone:
        message.phone = phones.for_programs(message.phone)
    return message


def _person(person: customers.CustomerPerson) -> dict[str, str]:
    return {name: value for name in _PERSON_FIELDS if (value := getattr(person, name))}


def _not_found(name: str, type_: str = "yandex.cloud.billing.v1.Customer") -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such customer; check its ID.",
        resource=Resource(type_, name[:100]),
    )
