"""billing.v1.CustomerService."""

from functools import partial
from typing import ClassVar

from billing.v1 import customer_pb2
from billing.v1 import customer_service_pb2 as customers
from google.longrunning import operations_pb2

from server.domain.customers import Customer, NewCustomer
from server.domain.invitations import NewInvitation
from server.domain.operations import OperationKind
from server.rpc.messages import customer_lists
from server.rpc.messages import resource_names as names
from server.rpc.messages.customer_changes import (
    check_labels,
    check_update,
    require_no_email,
    update_arguments,
)
from server.rpc.messages.customer_lists import list_scope, wanted_customers
from server.rpc.messages.customers import (
    as_checked,
    billing_invite_arguments,
    customer_not_found,
    person_fields,
    to_billing,
)
from server.rpc.messages.invitation_options import read_options
from server.rpc.messages.operations import checked_invitation, to_longrunning
from server.rpc.messages.paging import Pages
from server.rpc.pipeline.call_context import CallContext
from server.rpc.pipeline.call_ids import note_operation
from server.use_cases.customers import Customers
from server.use_cases.operations import Operations

_CUSTOMER = customer_pb2.Customer.DESCRIPTOR.full_name


class BillingCustomerService:
    """billing.v1.CustomerService over the use cases."""

    checks: ClassVar = {
        "InviteCustomer": (read_options, check_labels),
        "CreateCustomer": (require_no_email, check_labels),
        "UpdateCustomer": (check_update,),
        "ListCustomers": customer_lists.CHECKS,
    }

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
            dry_run=request.validate_only,
        )
        if isinstance(invited, NewInvitation):
            return checked_invitation(invited)
        return to_longrunning(await self._operations.with_subject(invited))

    async def CreateCustomer(
        self, request: customers.CreateCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        created = await self._customers.create_reseller_served(
            call.caller,
            reseller_id=names.parse_parent(request.parent),
            name=request.customer.display_name,
            person=person_fields(request.customer.person),
            external_id=request.customer.external_id or None,
            labels=request.customer.labels,
            request_id=call.request_id,
            key=call.idempotency_key,
            dry_run=request.validate_only,
        )
        if isinstance(created, NewCustomer):
            return as_checked(created.customer)
        note_operation(created)
        shown = await self._operations.with_subject(created)
        if not isinstance(shown.subject, Customer):
            raise customer_not_found("", _CUSTOMER)
        return to_billing(shown.subject)

    async def GetCustomer(
        self, request: customers.GetCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        reseller_id, customer_id = names.parse_name(request.name, names.CUSTOMERS)
        customer = await self._customers.get(call.caller, reseller_id, customer_id)
        return _require(customer, request.name)

    async def UpdateCustomer(
        self, request: customers.UpdateCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        name = request.customer.name
        place = names.parse_name(name, names.CUSTOMERS, "customer.name")
        changed = await self._customers.update(
            *(call.caller, *place, update_arguments(request), request.customer.etag),
            *(call.request_id, call.idempotency_key),
            dry_run=request.validate_only,
        )
        return _require(changed, name)

    async def DeleteCustomer(
        self, request: customers.DeleteCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        place = names.parse_name(request.name, names.CUSTOMERS)
        deleted = await self._customers.delete(
            *(call.caller, *place, request.etag, call.request_id, call.idempotency_key),
            allow_missing=request.allow_missing,
            dry_run=request.validate_only,
        )
        return _require(deleted, request.name)

    async def UndeleteCustomer(
        self, request: customers.UndeleteCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        place = names.parse_name(request.name, names.CUSTOMERS)
        undeleted = await self._customers.undelete(
            *(call.caller, *place, request.etag, call.request_id, call.idempotency_key),
            dry_run=request.validate_only,
        )
        return _require(undeleted, request.name)

    async def SuspendCustomer(
        self, request: customers.SuspendCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        return await self._set_state(OperationKind.SUSPEND, request, call)

    async def ActivateCustomer(
        self, request: customers.ActivateCustomerRequest, call: CallContext
    ) -> customer_pb2.Customer:
        return await self._set_state(OperationKind.ACTIVATE, request, call)

    async def _set_state(
        self,
        kind: OperationKind,
        request: customers.SuspendCustomerRequest | customers.ActivateCustomerRequest,
        call: CallContext,
    ) -> customer_pb2.Customer:
        place = names.parse_name(request.name, names.CUSTOMERS)
        changed = await self._customers.set_state(
            *(call.caller, kind, *place, request.etag, call.request_id, call.idempotency_key),
            dry_run=request.validate_only,
        )
        return _require(changed, request.name)

    async def ListCustomers(
        self, request: customers.ListCustomersRequest, call: CallContext
    ) -> customers.ListCustomersResponse:
        wanted = wanted_customers(request)
        page, token = await self._pages.read_part(
            request,
            list_scope(wanted, request.filter),
            partial(self._customers.page, call.caller, wanted),
            to_billing,
        )
        return customers.ListCustomersResponse(customers=page, next_page_token=token)


def _require(found: Customer | None, name: str) -> customer_pb2.Customer:
    if found is None:
        raise customer_not_found(name, _CUSTOMER)
    return to_billing(found)
