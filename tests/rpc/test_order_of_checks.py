"""Who has no right hears so before anything of the request is looked at."""

import time
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2, invitation_service_pb2
from billing.v1 import customer_service_pb2 as google_customers
from google.longrunning import operations_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from tests.rpc.conftest import Api

DEAR = "a\u0300\u0301\u0302" * 120_000 + "@example.com"
FOREIGN = "reseller-1"
OWN = "reseller-2"


def invite(reseller_id: str, email: str = DEAR) -> customers.InviteCustomerRequest:
    return customers.InviteCustomerRequest(reseller_id=reseller_id, invitation_email=email)


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    code: grpc.StatusCode = refused.value.code()
    return code


async def test_right_first_then_length_then_form(api: Api) -> None:
    began = time.process_time()
    denied = grpc.StatusCode.PERMISSION_DENIED
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    for who, reseller, code in (
        ("foreigner", FOREIGN, denied),
        ("foreigner", "no-such", denied),
        ("nobody", "", denied),
        ("nobody", "r" * 51, denied),
        ("foreigner", OWN, wrong),
        ("foreigner", "", wrong),
        ("foreigner", "r" * 51, wrong),
    ):
        assert await code_of(api.customers.Invite(invite(reseller), metadata=api.as_(who))) is code
    # One address of these, normalised, takes seconds.
    assert time.process_time() - began < 1


@pytest.mark.parametrize("who", ["foreigner", "nobody"])
async def test_each_method_asks_for_the_right_first(api: Api, who: str) -> None:
    metadata = api.as_(who)
    parent = f"resellers/{FOREIGN}"
    long = "x" * 5000
    for call in (
        api.customers.List(
            customers.ListCustomersRequest(reseller_id=FOREIGN, page_token=long), metadata=metadata
        ),
        api.google_customers.InviteCustomer(
            google_customers.InviteCustomerRequest(
                parent=f"resellers/{FOREIGN}", customer=customer_pb2.Customer(display_name=long)
            ),
            metadata=metadata,
        ),
        api.google_customers.ListCustomers(
            google_customers.ListCustomersRequest(parent=parent, page_size=-1), metadata=metadata
        ),
        api.invitations.ListInvitations(
            invitation_service_pb2.ListInvitationsRequest(parent=parent, filter=long),
            metadata=metadata,
        ),
        api.invitations.RevokeInvitation(
            invitation_service_pb2.RevokeInvitationRequest(name=f"{parent}/{long}"),
            metadata=metadata,
        ),
    ):
        assert await code_of(call) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_reader_may_not_write_whatever_it_sends(api: Api) -> None:
    call = api.customers.Invite(invite(FOREIGN), metadata=api.as_("reader"))
    assert await code_of(call) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_caller_without_a_role_is_denied_what_names_no_reseller(api: Api) -> None:
    metadata = api.as_("nobody")
    for call in (
        api.customers.Activate(
            customers.ActivateCustomerRequest(customer_id="x" * 51), metadata=metadata
        ),
        api.longrunning.ListOperations(
            operations_pb2.ListOperationsRequest(page_size=-1), metadata=metadata
        ),
        api.longrunning.CancelOperation(
            operations_pb2.CancelOperationRequest(name="x" * 200), metadata=metadata
        ),
    ):
        assert await code_of(call) is grpc.StatusCode.PERMISSION_DENIED
