"""What callers and invitees of a suspended or removed reseller are answered."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import invitation_service_pb2 as service
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_service_pb2

from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request
from tests.rpc.test_invitations import (
    PARENT,
    Sent,
    State,
    accept,
    decline,
    detail,
    resend,
    revoke,
    sent,
)


def _calls(api: Api, made: Sent) -> list[Awaitable[Any]]:
    """Returns a call of each kind that the reseller may make."""
    who = api.as_("writer")
    customer_id = made.customer.rpartition("/")[2]
    served = customers.CreateResellerServedCustomerRequest(
        reseller_id=api.reseller, name="Customer", person=customers.CustomerPerson(name="Ostap")
    )
    return [
        api.customers.Invite(request(), metadata=who),
        api.customers.List(customers.ListCustomersRequest(reseller_id=api.reseller), metadata=who),
        api.customers.CreateResellerServed(served, metadata=who),
        api.customers.Activate(
            customers.ActivateCustomerRequest(customer_id=customer_id), metadata=who
        ),
        api.customers.Suspend(
            customers.SuspendCustomerRequest(customer_id=customer_id), metadata=who
        ),
        api.google_customers.GetCustomer(
            google_customers.GetCustomerRequest(name=made.customer), metadata=who
        ),
        api.google_customers.ListCustomers(
            google_customers.ListCustomersRequest(parent=PARENT), metadata=who
        ),
        api.invitations.GetInvitation(service.GetInvitationRequest(name=made.name), metadata=who),
        api.invitations.ListInvitations(
            service.ListInvitationsRequest(parent=PARENT), metadata=who
        ),
        resend(api, made.name),
        revoke(api, made.name),
        api.operations.Get(
            operation_service_pb2.GetOperationRequest(operation_id=made.operation_id), metadata=who
        ),
        api.operations.Cancel(
            operation_service_pb2.CancelOperationRequest(operation_id=made.operation_id),
            metadata=who,
        ),
        api.longrunning.ListOperations(
            operations_pb2.ListOperationsRequest(name="operations"), metadata=who
        ),
        api.longrunning.DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=f"operations/{made.operation_id}"),
            metadata=who,
        ),
        # Neither is told whether these exist.
        api.operations.Get(
            operation_service_pb2.GetOperationRequest(operation_id="bop00000000000000000"),
            metadata=who,
        ),
        api.customers.Activate(
            customers.ActivateCustomerRequest(customer_id="bcu00000000000000000"), metadata=who
        ),
    ]


@pytest.mark.parametrize("how", ["suspend", "remove"])
async def test_all_calls_are_refused_at_once_with_the_reason(api: Api, how: str) -> None:
    made = await sent(api)
    if how == "suspend":
        await api.storage.administration.suspend_reseller(api.reseller, api.clock())
    else:
        await api.storage.administration.remove_reseller(api.reseller, api.clock())
    for call in _calls(api, made):
        code, reason, status = await refusal(call)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert reason == f"RESELLER_{'SUSPENDED' if how == 'suspend' else 'REMOVED'}"
        info = detail(status, error_details_pb2.ErrorInfo)
        assert dict(info.metadata) == {"resellerId": api.reseller}
    # Who has no role for it learns nothing.
    foreign = api.invitations.GetInvitation(
        service.GetInvitationRequest(name=made.name), metadata=api.as_("foreigner")
    )
    assert (await refusal(foreign))[1] == "PERMISSION_MISSING"
    if how == "suspend":
        await api.storage.administration.resume_reseller(api.reseller, api.clock())
        await api.customers.Invite(request(), metadata=api.as_("writer"))


async def test_links_of_a_suspended_reseller_are_held_until_it_is_resumed(api: Api) -> None:
    made = await sent(api)
    await api.storage.administration.suspend_reseller(api.reseller, api.clock())
    for call in (accept(api, made.token), decline(api, made.token)):
        code, reason, _ = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INVITATION_HELD")
    await api.storage.administration.resume_reseller(api.reseller, api.clock())
    assert (await accept(api, made.token)).state == State.ACCEPTED
