"""Both customer services over one set of use cases."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from google.longrunning import operations_pb2
from yandex.cloud.billing.v1 import customer_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_pb2

from server.api import names, paging
from server.api.calls import Call
from server.api.operations import google_style, published, timestamp
from server.api.validation import normal_address
from server.domain.access import Permission, permission_missing
from server.domain.customers import Customer, create_reseller_served, finished_operation
from server.domain.errors import BillingError, Reason, Resource
from server.domain.invitations import invite
from server.domain.operations import Operation, OperationKind
from server.storage.interface import Storage

_PERSON_FIELDS = tuple(customers.CustomerPerson.DESCRIPTOR.fields_by_name)


class Customers:
    """The use cases: permission first, then the storage. Operations are returned once durable."""

    def __init__(
        self, storage: Storage, clock: Callable[[], datetime], lifetime: timedelta
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._lifetime = lifetime

    async def invite(
        self,
        request: customers.InviteCustomerRequest | google_customers.InviteCustomerRequest,
        call: Call,
    ) -> Operation:
        """Records the invitation."""
        call.caller.require(Permission.WRITE, request.reseller_id)
        new = invite(
            reseller_id=request.reseller_id,
            name=request.name,
            email=normal_address(request.invitation_email),
            person=_person(request.person),
            invited_by=call.caller.id,
            now=self._clock(),
            lifetime=self._lifetime,
        )
        return await self._storage.create_invitation(new, call.idempotency_key)

    async def create_reseller_served(
        self, request: customers.CreateResellerServedCustomerRequest, call: Call
    ) -> Operation:
        """Creates a customer that is active at once."""
        call.caller.require(Permission.WRITE, request.reseller_id)
        new = create_reseller_served(
            reseller_id=request.reseller_id,
            name=request.name,
            person=_person(request.person),
            created_by=call.caller.id,
            now=self._clock(),
        )
        return await self._storage.create_customer(new, call.idempotency_key)

    async def change_state(self, kind: OperationKind, customer_id: str, call: Call) -> Operation:
        """Activates or suspends a customer."""
        customer = await self._storage.get_customer(customer_id)
        if customer:
            call.caller.require(Permission.WRITE, customer.reseller_id)
        elif not call.caller.resellers(Permission.WRITE):
            raise permission_missing(Permission.WRITE)
        else:
            raise _not_found(customer_id)
        operation = await self._storage.change_customer_state(
            finished_operation(kind, customer, call.caller.id, self._clock()),
            call.idempotency_key,
        )
        if operation is None:
            raise _not_found(customer_id)
        return operation

    async def get(self, name: str, call: Call) -> Customer:
        """Returns a customer by its resource name."""
        reseller_id, customer_id = names.parse_name(name, names.CUSTOMERS)
        call.caller.require(Permission.READ, reseller_id)
        customer = await self._storage.get_customer(customer_id)
        if customer is None or customer.reseller_id != reseller_id:
            raise _not_found(name, "billing.v1.Customer")
        return customer

    async def page(
        self, reseller_id: str, page_size: int, page_token: str, call: Call
    ) -> tuple[Sequence[Customer], str]:
        """Returns a page of a reseller's customers, newest first, and the next page's token."""
        call.caller.require(Permission.READ, reseller_id)
        size = paging.page_size(page_size)
        scope = ("customers", reseller_id)
        rows = await self._storage.list_customers(
            reseller_id, size + 1, paging.cursor(page_token, *scope)
        )
        return paging.cut(rows, size, *scope)


class CustomerService:
    """yandex.cloud.billing.v1.CustomerService."""

    def __init__(self, use_cases: Customers) -> None:
        self._customers = use_cases

    async def List(
        self, request: customers.ListCustomersRequest, call: Call
    ) -> customers.ListCustomersResponse:
        page, token = await self._customers.page(
            request.reseller_id, request.page_size, request.page_token, call
        )
        return customers.ListCustomersResponse(
            customers=[
                customer_pb2.Customer(
                    id=customer.id, billing_account_id=customer.billing_account_id
                )
                for customer in page
            ],
            next_page_token=token,
        )

    async def Invite(
        self, request: customers.InviteCustomerRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(await self._customers.invite(request, call))

    async def CreateResellerServed(
        self, request: customers.CreateResellerServedCustomerRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(await self._customers.create_reseller_served(request, call))

    async def Activate(
        self, request: customers.ActivateCustomerRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(
            await self._customers.change_state(OperationKind.ACTIVATE, request.customer_id, call)
        )

    async def Suspend(
        self, request: customers.SuspendCustomerRequest, call: Call
    ) -> operation_pb2.Operation:
        return published(
            await self._customers.change_state(OperationKind.SUSPEND, request.customer_id, call)
        )


class GoogleCustomerService:
    """billing.v1.CustomerService."""

    def __init__(self, use_cases: Customers) -> None:
        self._customers = use_cases

    async def InviteCustomer(
        self, request: google_customers.InviteCustomerRequest, call: Call
    ) -> operations_pb2.Operation:
        return google_style(await self._customers.invite(request, call))

    async def GetCustomer(
        self, request: google_customers.GetCustomerRequest, call: Call
    ) -> google_customer.Customer:
        return _google_style(await self._customers.get(request.name, call))

    async def ListCustomers(
        self, request: google_customers.ListCustomersRequest, call: Call
    ) -> google_customers.ListCustomersResponse:
        page, token = await self._customers.page(
            names.parse_parent(request.parent), request.page_size, request.page_token, call
        )
        return google_customers.ListCustomersResponse(
            customers=map(_google_style, page), next_page_token=token
        )


def _google_style(customer: Customer) -> google_customer.Customer:
    return google_customer.Customer(
        name=names.name(customer.reseller_id, names.CUSTOMERS, customer.id),
        display_name=customer.name,
        state=google_customer.Customer.State.Value(customer.state.name),
        email=customer.email or "",
        person=customers.CustomerPerson(**customer.person),
        billing_account_id=customer.billing_account_id,
        create_time=timestamp(customer.created_at),
        update_time=timestamp(customer.modified_at),
    )


def _person(person: customers.CustomerPerson) -> dict[str, str]:
    return {name: value for name in _PERSON_FIELDS if (value := getattr(person, name))}


def _not_found(name: str, type_: str = "yandex.cloud.billing.v1.Customer") -> BillingError:
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such customer; check its ID.",
        resource=Resource(type_, name[:100]),
    )
