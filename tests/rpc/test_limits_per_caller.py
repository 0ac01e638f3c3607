"""What one caller may take of the server, through the API; no limit depends on time here."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from billing.v1 import invitation_pb2, invitation_service_pb2
from google.longrunning import operations_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2, api_endpoint_service_pb2_grpc
from yandex.cloud.operation import operation_service_pb2

from server.config import Settings
from server.domain.invitations import new_link_token
from server.storage.storage import SqlStorage
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request
from tests.storage.records import ACTOR, new
from tests.storage.stored_invitation import sent

# One call, and the next after a quarter of an hour.
RARELY = 0.001
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Those that a test is marked with."""
    (mark,) = request.node.iter_markers("settings")
    return Settings(var=tmp_path, **mark.kwargs)


def get(api: Api, who: str) -> Any:
    """Reads an operation that is not there."""
    wanted = operation_service_pb2.GetOperationRequest(operation_id="bop00000000000000000")
    return api.operations.Get(wanted, metadata=api.as_(who))


@pytest.mark.settings(rate_limit=RARELY)
async def test_each_caller_has_its_own_rate(api: Api) -> None:
    for who in ("writer", "reader"):
        assert (await refusal(get(api, who)))[0] is grpc.StatusCode.NOT_FOUND
        assert (await refusal(get(api, who)))[:2] == (EXHAUSTED, "RATE_EXCEEDED")


@pytest.mark.settings(rate_limit=RARELY)
async def test_each_address_has_its_own_rate_where_callers_are_anonymous(api: Api) -> None:
    stub: Any = api_endpoint_service_pb2_grpc.ApiEndpointServiceStub(api.channel)

    def ask(address: str) -> Any:
        metadata = (("x-forwarded-for", address),)
        return stub.List(api_endpoint_service_pb2.ListApiEndpointsRequest(), metadata=metadata)

    for address in ("192.0.2.1", "192.0.2.2"):
        await ask(address)
        assert (await refusal(ask(address)))[:2] == (EXHAUSTED, "RATE_EXCEEDED")
    # The last one is what the gateway says; those before are what the caller says.
    assert (await refusal(ask("198.51.100.7, 192.0.2.1")))[0] is EXHAUSTED
    await ask("192.0.2.1, 198.51.100.7")


@pytest.mark.settings(rate_limit=RARELY)
async def test_a_right_link_opens_whatever_else_came_from_its_address(api: Api) -> None:
    assert isinstance(api.storage, SqlStorage)
    stored = await sent(api.storage, new(reseller_id=api.reseller, now=api.clock()))

    def accept(token: str) -> Any:
        wanted = invitation_service_pb2.AcceptInvitationRequest(token=token)
        return api.invitations.AcceptInvitation(
            wanted, metadata=(("x-forwarded-for", "192.0.2.1"),)
        )

    reasons = [(await refusal(accept(new_link_token())))[1] for _ in range(50)]
    assert set(reasons) == {"NOT_FOUND", "RATE_EXCEEDED"}
    assert (await accept(stored.token)).state == invitation_pb2.Invitation.ACCEPTED


@pytest.mark.settings(rate_limit=0, max_concurrent_calls=4)
async def test_waits_take_no_place_of_other_calls(api: Api) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    wait = operations_pb2.WaitOperationRequest(name=f"operations/{made.id}")
    wait.timeout.FromSeconds(60)
    waits = [
        asyncio.ensure_future(api.longrunning.WaitOperation(wait, metadata=api.as_("writer")))
        for _ in range(3)
    ]
    # One caller has half of the places: of those who wait the third is refused, and tells so.
    done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert [(await refusal(each))[:2] for each in done] == [(EXHAUSTED, "OVERLOADED")]
    assert len(waiting) == 2
    for _ in range(3):
        assert (await refusal(get(api, "writer")))[0] is grpc.StatusCode.NOT_FOUND
    await api.storage.operations.cancel_operation(made.id, api.clock(), ACTOR, None)
    assert [each.done for each in await asyncio.gather(*waiting)] == [True, True]
    # Their places are free again.
    assert (await api.longrunning.WaitOperation(wait, metadata=api.as_("writer"))).done
