"""Access bindings of yandex.cloud.billing.v1.BillingAccountService, as callers see them."""

import uuid
from typing import Any

import grpc
import pytest
from billing.v1 import event_pb2, event_service_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from yandex.cloud.access import access_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from server.domain.access import Role
from server.domain.role_changes import MOST_ROLES
from tests.rpc.conftest import Api
from tests.rpc.test_billing_accounts import create

DENIED = grpc.StatusCode.PERMISSION_DENIED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(autouse=True)
async def owner(api: Api) -> None:
    """Has the caller `nobody` own the reseller."""
    await api.storage.administration.grant_role("nobody", api.reseller, Role.OWNER, api.clock())


def delta(
    id_: str = "auth0|5",
    role: str = Role.VIEWER,
    type_: str = "userAccount",
    action: Any = access_pb2.ADD,
) -> access_pb2.AccessBindingDelta:
    subject = access_pb2.Subject(id=id_, type=type_)
    binding = access_pb2.AccessBinding(role_id=role, subject=subject)
    return access_pb2.AccessBindingDelta(action=action, access_binding=binding)


async def update(
    api: Api, *deltas: Any, who: str = "nobody", id_: str = "reseller-1", **headers: str
) -> operation_pb2.Operation:
    answer: operation_pb2.Operation = await api.accounts.UpdateAccessBindings(
        access_pb2.UpdateAccessBindingsRequest(resource_id=id_, access_binding_deltas=deltas),
        metadata=api.as_(who, **headers),
    )
    return answer


async def refused(api: Api, *deltas: Any, **how: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await update(api, *deltas, **how)
    return error.value.code(), error.value.details() or ""


async def bindings(api: Api, id_: str = "reseller-1", who: str = "reader") -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    token = ""
    while True:
        page = await api.accounts.ListAccessBindings(
            access_pb2.ListAccessBindingsRequest(resource_id=id_, page_size=2, page_token=token),
            metadata=api.as_(who),
        )
        found += [(b.subject.id, b.subject.type, b.role_id) for b in page.access_bindings]
        token = page.next_page_token
        if not token:
            return found


async def test_roles_are_given_by_the_api_and_hold_at_once(api: Api) -> None:
    await api.storage.administration.add_service_account("aje1", "Nightly", api.clock())
    made = await update(api, delta(), delta("aje1", Role.EDITOR, "serviceAccount"))
    metadata = access_pb2.UpdateAccessBindingsMetadata()
    assert made.metadata.Unpack(metadata)
    assert metadata.resource_id == "reseller-1"
    assert (made.done, made.created_by) == (True, "nobody")
    assert made.description == "Update access bindings"
    assert made.response.Unpack(empty_pb2.Empty())
    assert (await bindings(api))[:2] == [
        ("auth0|5", "userAccount", "billing.accounts.viewer"),
        ("aje1", "serviceAccount", "billing.accounts.editor"),
    ]
    # A right that is taken is gone with the answer; so is one that is given.
    await update(api, delta("reader", action=access_pb2.REMOVE))
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await bindings(api)
    assert gone.value.code() is DENIED
    await update(api, delta("reader"))
    assert ("reader", "userAccount", "billing.accounts.viewer") in await bindings(api)


async def test_both_operation_services_and_the_log_show_it(api: Api) -> None:
    made = await update(api, delta(), x_request_id="11111111-2222-4333-8444-555555555555")
    request = operation_service_pb2.GetOperationRequest(operation_id=made.id)
    assert await api.operations.Get(request, metadata=api.as_("reader")) == made
    shown = await api.longrunning.GetOperation(
        operations_pb2.GetOperationRequest(name=f"operations/{made.id}"),
        metadata=api.as_("reader"),
    )
    ours = event_pb2.UpdateAccessMetadata()
    assert shown.done
    assert shown.metadata.Unpack(ours)
    assert (ours.reseller, ours.create_time) == ("resellers/reseller-1", made.created_at)
    assert shown.response.Unpack(empty_pb2.Empty())
    listed = await api.longrunning.ListOperations(
        operations_pb2.ListOperationsRequest(name="operations"), metadata=api.as_("reader")
    )
    assert list(listed.operations) == [shown]
    events = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(parent="resellers/reseller-1"),
        metadata=api.as_("reader"),
    )
    last = events.events[-1]
    assert (last.type, last.operation) == ("access.granted", shown.name)
    assert last.actor.subject == "nobody"
    assert last.actor.request_id == "11111111-2222-4333-8444-555555555555"
    role = event_pb2.RoleBinding()
    assert last.data.Unpack(role)
    assert (role.subject, role.role) == ("auth0|5", "billing.accounts.viewer")


async def test_a_repeat_by_key_is_one_change(api: Api) -> None:
    key = str(uuid.uuid4())
    first = await update(api, delta(), idempotency_key=key)
    assert await update(api, delta(), idempotency_key=key) == first
    assert (await refused(api, delta("other"), idempotency_key=key))[0] is INVALID


async def test_rights_come_before_fields_and_existence(api: Api) -> None:
    wrong = delta(role="billing.accounts.boss")
    for who in ("writer", "reader"):
        for id_ in ("reseller-1", "reseller-2", "bac00000000000000000", "", "x" * 65):
            code, text = await refused(api, wrong, who=who, id_=id_)
            assert code is DENIED, (who, id_)
            assert "reseller" in text
    assert (await refused(api, delta(), who="foreigner"))[0] is DENIED
    unknown = await refused(api, delta(), id_="bac00000000000000000")
    assert unknown[0] is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await bindings(api, who="foreigner")
    assert error.value.code() is DENIED


async def test_all_that_is_wrong_is_named_at_once(api: Api) -> None:
    field = "access_binding_deltas[{}].access_binding."
    for deltas, found in (
        (
            [delta(role="billing.accounts.boss"), delta(type_="userGroup"), delta("two words")],
            [
                field.format(0) + "role_id: Must be one of billing.accounts.owner,",
                field.format(1) + "subject.type: Must be serviceAccount, or userAccount",
                field.format(2) + "subject.id: Must be printable ASCII",
            ],
        ),
        (
            [delta(action=7), delta("ё")],
            [
                "access_binding_deltas[0].action: Must be ADD or REMOVE.",
                field.format(1) + "subject.id: Must be printable ASCII",
            ],
        ),
    ):
        code, text = await refused(api, *deltas)
        assert code is INVALID
        assert all(wrong in text for wrong in found), text
    for deltas, wrong in (
        ([], "access_binding_deltas: Must be 1-1000 elements."),
        ([delta()] * 1001, "access_binding_deltas: Must be 1-1000 elements."),
        ([access_pb2.AccessBindingDelta()], "access_binding_deltas[0].action: Required."),
        ([delta("x" * 101)], "subject.id: Must be <=100 characters long."),
        ([delta(type_="serviceAccount")], "subject.id: There is no such service account"),
    ):
        code, text = await refused(api, *deltas)
        assert code is INVALID
        assert wrong in text
    assert len(await bindings(api)) == 3


async def test_a_customers_account_has_no_roles_of_its_own(api: Api) -> None:
    account = await create(api)
    assert await bindings(api, account) == []
    code, text = await refused(api, delta(), id_=account)
    assert code is INVALID
    assert "give them for reseller-1" in text


async def test_a_reseller_has_a_thousand_roles_at_most(api: Api) -> None:
    held = len(await bindings(api))
    await update(api, *(delta(f"auth0|{number}") for number in range(MOST_ROLES - held)))
    # All or none; what is held already is no more.
    for deltas in ([delta("more")], [delta("auth0|0"), delta("more")]):
        code, text = await refused(api, *deltas)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "The limit of 1000 roles" in text
    await update(api, delta("auth0|0"))
    await update(api, delta("auth0|0", action=access_pb2.REMOVE), delta("more"))
    # Those who run the service give as many as they like, and all can be taken.
    await api.storage.administration.grant_role("most", api.reseller, Role.VIEWER, api.clock())
    assert (await refused(api, delta("auth0|0")))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await update(api, delta("more", action=access_pb2.REMOVE))


async def test_the_last_owner_stays(api: Api) -> None:
    taken = delta("nobody", Role.OWNER, action=access_pb2.REMOVE)
    code, text = await refused(api, taken)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "billing.accounts.owner" in text
