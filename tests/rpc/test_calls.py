import asyncio
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers
from yandex.cloud.operation import operation_service_pb2

from server.config import Settings
from server.domain.access import Role, hash_token
from server.domain.errors import BillingError, Reason
from tests.inviting import in_our_words
from tests.rpc.conftest import Api
from tests.storage.records import ACTOR

LEASE = timedelta(minutes=1)


def request(**changes: Any) -> customers.InviteCustomerRequest:
    fields = {
        "reseller_id": "reseller-1",
        "name": "Customer",
        "invitation_email": f"{uuid.uuid4().hex}@example.com",
        "person": customers.CustomerPerson(tin="77"),
        **changes,
    }
    return customers.InviteCustomerRequest(**fields)


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, status_pb2.Status]:
    """Returns code, reason and status of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    trailing: dict[str, Any] = dict(list(refused.value.trailing_metadata() or ()))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    last = error_details_pb2.RequestInfo()
    assert status.details[-1].Unpack(last)
    assert last.request_id == trailing["x-request-id"]
    return refused.value.code(), info.reason, status


@pytest.mark.parametrize(
    ("taken", "refused"),
    [
        ("role", (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")),
        ("token", (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")),
    ],
)
async def test_a_right_that_ends_during_a_wait_ends_it(
    api: Api, taken: str, refused: tuple[grpc.StatusCode, str]
) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    wait = operations_pb2.WaitOperationRequest(name=f"operations/{made.id}")
    waits = {
        who: asyncio.ensure_future(
            api.longrunning.WaitOperation(wait, metadata=api.as_(who), timeout=120)
        )
        for who in ("reader", "writer")
    }
    await asyncio.wait(waits.values(), timeout=0.2)
    if taken == "role":
        assert await api.storage.administration.revoke_role(
            "reader", "reseller-1", Role.VIEWER, api.clock()
        )
    else:
        assert await api.storage.access.end_access_token(hash_token("reader-token"), api.clock())
    async with asyncio.timeout(30):
        assert (await refusal(waits["reader"]))[:2] == refused
    assert not waits["writer"].done()
    await api.storage.operations.cancel_operation(made.id, api.clock(), ACTOR, None)
    assert (await waits["writer"]).done


async def test_who_may_not_write_is_denied_and_nothing_is_written(api: Api) -> None:
    for who, reseller in (
        ("reader", "reseller-1"),
        ("foreigner", "reseller-1"),
        ("nobody", "reseller-1"),
        ("writer", "reseller-2"),
        ("writer", "no-such-reseller"),
    ):
        call = api.customers.Invite(request(reseller_id=reseller), metadata=api.as_(who))
        code, reason, _ = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    assert (
        await api.storage.operations.list_operations(["reseller-1", "reseller-2"], None, 10, None)
    ).rows == []


async def test_permission_comes_before_existence(api: Api) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    unknown = "bop00000000000000000"

    def calls(operation_id: str, who: str) -> list[Awaitable[Any]]:
        name, metadata = f"operations/{operation_id}", api.as_(who)
        return [
            api.operations.Get(
                operation_service_pb2.GetOperationRequest(operation_id=operation_id),
                metadata=metadata,
            ),
            api.operations.Cancel(
                operation_service_pb2.CancelOperationRequest(operation_id=operation_id),
                metadata=metadata,
            ),
            api.longrunning.GetOperation(
                operations_pb2.GetOperationRequest(name=name), metadata=metadata
            ),
            api.longrunning.WaitOperation(
                operations_pb2.WaitOperationRequest(name=name), metadata=metadata
            ),
            api.longrunning.CancelOperation(
                operations_pb2.CancelOperationRequest(name=name), metadata=metadata
            ),
            api.longrunning.DeleteOperation(
                operations_pb2.DeleteOperationRequest(name=name), metadata=metadata
            ),
        ]

    for operation_id, who, expected in (
        (made.id, "foreigner", grpc.StatusCode.PERMISSION_DENIED),
        (made.id, "nobody", grpc.StatusCode.PERMISSION_DENIED),
        (unknown, "nobody", grpc.StatusCode.PERMISSION_DENIED),
        (unknown, "writer", grpc.StatusCode.NOT_FOUND),
    ):
        for call in calls(operation_id, who):
            code, _, _ = await refusal(call)
            assert code is expected
    code, _, _ = await refusal(
        api.longrunning.ListOperations(
            operations_pb2.ListOperationsRequest(name="operations"), metadata=api.as_("nobody")
        )
    )
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert not (await api.storage.operations.get_operation(made.id)).done  # type: ignore[union-attr]


async def test_both_styles_share_one_use_case(api: Api) -> None:
    body = request()
    google = in_our_words(body)
    begun = await api.google_customers.InviteCustomer(google, metadata=api.as_("writer"))
    code, reason, status = await refusal(api.customers.Invite(body, metadata=api.as_("writer")))
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "INVITATION_OPEN")
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert f"operations/{info.metadata['operationId']}" == begun.name


async def test_keys_are_of_caller_method_and_request(api: Api) -> None:
    key, body = str(uuid.uuid4()), request()
    mine = api.as_("writer", idempotency_key=key)
    first = await api.customers.Invite(body, metadata=mine)
    upper = await api.customers.Invite(
        body, metadata=api.as_("writer", idempotency_key=key.upper())
    )
    assert upper == first
    google = in_our_words(body)
    for call in (
        api.customers.Invite(request(), metadata=mine),
        api.google_customers.InviteCustomer(google, metadata=mine),
        api.operations.Cancel(
            operation_service_pb2.CancelOperationRequest(operation_id=first.id), metadata=mine
        ),
        api.longrunning.DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=f"operations/{first.id}"), metadata=mine
        ),
    ):
        code, reason, _ = await refusal(call)
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")
    others = await api.customers.Invite(
        request(reseller_id="reseller-2"), metadata=api.as_("foreigner", idempotency_key=key)
    )
    assert others.id != first.id
    read = await api.operations.Get(
        operation_service_pb2.GetOperationRequest(operation_id=first.id),
        metadata=api.as_("writer", idempotency_key="not even a UUID"),
    )
    assert read.id == first.id


@pytest.mark.parametrize("change", ["{}0", " {}", "{{{}}}", "{},{}", "urn:uuid:{}", "", "1"])
async def test_a_key_is_a_uuid_and_nothing_more(api: Api, change: str) -> None:
    key = str(uuid.uuid4())
    metadata = api.as_("writer", idempotency_key=change.format(key, key))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.customers.Invite(request(), metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == (
        "The idempotency key is invalid. "
        "Idempotency-Key: Must be a UUID, like 6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14."
    )
    code, reason, _ = await refusal(api.customers.Invite(request(), metadata=metadata))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID")


async def test_a_failed_call_does_not_burn_its_key(api: Api) -> None:
    metadata = api.as_("writer", idempotency_key=str(uuid.uuid4()))
    body = request()
    await api.customers.Invite(body, metadata=api.as_("writer"))
    code, _, _ = await refusal(api.customers.Invite(body, metadata=metadata))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    code, _, _ = await refusal(api.customers.Invite(request(name=""), metadata=metadata))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    made = await api.customers.Invite(request(), metadata=metadata)
    assert made.id


async def test_keys_are_forgotten_in_time(api: Api, settings: Settings) -> None:
    metadata = api.as_("writer", idempotency_key=str(uuid.uuid4()))
    first = await api.customers.Invite(request(), metadata=metadata)
    api.clock.advance(settings.idempotency_lifetime - timedelta(seconds=1))
    code, _, _ = await refusal(api.customers.Invite(request(), metadata=metadata))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    api.clock.advance(timedelta(seconds=2))
    second = await api.customers.Invite(request(), metadata=metadata)
    assert second.id != first.id


async def test_cancel_by_both_services(api: Api) -> None:
    for google in (False, True):
        made = await api.customers.Invite(request(), metadata=api.as_("writer"))
        if google:
            cancel = operations_pb2.CancelOperationRequest(name=f"operations/{made.id}")
            await api.longrunning.CancelOperation(cancel, metadata=api.as_("writer"))
        else:
            published = operation_service_pb2.CancelOperationRequest(operation_id=made.id)
            await api.operations.Cancel(published, metadata=api.as_("writer"))
        ended = await api.operations.Get(
            operation_service_pb2.GetOperationRequest(operation_id=made.id),
            metadata=api.as_("reader"),
        )
        assert (ended.done, ended.error.code) == (True, 1)
        assert await api.storage.mail.claim_deliveries(10, api.clock(), LEASE) == []


async def test_delete_is_for_finished_operations(api: Api) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    delete = operations_pb2.DeleteOperationRequest(name=f"operations/{made.id}")
    code, reason, _ = await refusal(
        api.longrunning.DeleteOperation(delete, metadata=api.as_("writer"))
    )
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OPERATION_RUNNING")
    (delivery,) = await api.storage.mail.claim_deliveries(1, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    metadata = api.as_("writer", idempotency_key=str(uuid.uuid4()))
    await api.longrunning.DeleteOperation(delete, metadata=metadata)
    await api.longrunning.DeleteOperation(delete, metadata=metadata)
    code, _, _ = await refusal(api.longrunning.DeleteOperation(delete, metadata=api.as_("writer")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_wait_ends_the_moment_the_operation_does(api: Api) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    wait = operations_pb2.WaitOperationRequest(name=f"operations/{made.id}")
    wait.timeout.FromSeconds(60)
    waiting = asyncio.ensure_future(api.longrunning.WaitOperation(wait, metadata=api.as_("reader")))
    (delivery,) = await api.storage.mail.claim_deliveries(1, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    async with asyncio.timeout(20):
        assert (await waiting).done


async def test_wait_ends_at_its_timeout_and_before_the_deadline(api: Api) -> None:
    made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    wait = operations_pb2.WaitOperationRequest(name=f"operations/{made.id}")
    wait.timeout.FromMilliseconds(50)
    assert not (await api.longrunning.WaitOperation(wait, metadata=api.as_("reader"))).done
    wait.timeout.FromSeconds(3600)
    answer = await api.longrunning.WaitOperation(wait, metadata=api.as_("reader"), timeout=3)
    assert not answer.done


@pytest.mark.parametrize(
    ("longest", "says"),
    [
        ({"seconds": -1}, "Must be from 0s to 315576000000s (3652500 days)."),
        ({"nanos": -1}, "Must be from 0s"),
        ({"seconds": 315_576_000_001}, "Must be from 0s"),
        ({"seconds": -(1 << 63)}, "Must be from 0s"),
        ({"seconds": 1, "nanos": -1}, "Its nanos must be"),
        ({"seconds": -1, "nanos": 1}, "Its nanos must be"),
        ({"nanos": 10**9}, "Its nanos must be from -999999999 to 999999999, of the sign of its"),
    ],
)
async def test_a_wait_for_no_length_of_time_is_refused(
    api: Api, longest: dict[str, int], says: str
) -> None:
    wait = operations_pb2.WaitOperationRequest(name="operations/bop00000000000000000")
    wait.timeout.CopyFrom(duration_pb2.Duration(**longest))
    code, reason, status = await refusal(
        api.longrunning.WaitOperation(wait, metadata=api.as_("reader"))
    )
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID")
    assert f"timeout: {says}" in status.message


@pytest.mark.parametrize(
    "name", ["", "operations/", "bop00000000000000000", "operations/a/b", "x/y"]
)
async def test_names_of_operations_are_checked(api: Api, name: str) -> None:
    code, _, _ = await refusal(
        api.longrunning.GetOperation(
            operations_pb2.GetOperationRequest(name=name), metadata=api.as_("writer")
        )
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("", 2),
        ("done = true", 1),
        ("done=false", 1),
        ("done:true", 1),
        ("NOT done", 1),
        ("-done=true", 1),
        ('done = "true"', 1),
    ],
)
async def test_a_filter_finds_operations_by_state(api: Api, filter_: str, found: int) -> None:
    for _ in range(2):
        made = await api.customers.Invite(request(), metadata=api.as_("writer"))
    await api.operations.Cancel(
        operation_service_pb2.CancelOperationRequest(operation_id=made.id),
        metadata=api.as_("writer"),
    )
    listed = await api.longrunning.ListOperations(
        operations_pb2.ListOperationsRequest(name="operations", filter=filter_),
        metadata=api.as_("reader"),
    )
    assert len(listed.operations) == found


async def test_a_strangers_exception_is_told_to_no_one(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(api.storage.operations, "get_operation", broken)
    code, reason, status = await refusal(
        api.operations.Get(
            operation_service_pb2.GetOperationRequest(operation_id="x"), metadata=api.as_("writer")
        )
    )
    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in str(status)
    assert "the secret inside" in caplog.text


async def test_the_gateway_learns_whose_call_met_a_fault(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(api.storage.operations, "get_operation", broken)
    operation = "bop" + "0" * 17
    call = api.operations.Get(
        operation_service_pb2.GetOperationRequest(operation_id=operation),
        metadata=api.as_("writer", x_forwarded_for="203.0.113.5"),
    )
    assert await call.code() is grpc.StatusCode.INTERNAL
    told = {name: value for name, value in await call.trailing_metadata()}  # noqa: C416 - dict() does not read it
    assert told["x-call-caller"].startswith("subject-")  # of a name, which may be an address
    assert told["x-call-operation"] == operation


async def test_storage_troubles_are_told_with_a_delay(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise BillingError(Reason.STORAGE_UNAVAILABLE, "Try again.", retry_after_s=1)

    monkeypatch.setattr(api.storage.operations, "get_operation", away)
    call = api.operations.Get(
        operation_service_pb2.GetOperationRequest(operation_id="x"), metadata=api.as_("writer")
    )
    code, _, status = await refusal(call)
    assert code is grpc.StatusCode.UNAVAILABLE
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert dict(list(await call.trailing_metadata()))["retry-after"] == "1"


async def test_a_caller_that_has_gone_does_no_work(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(api.storage.invitations, "create_invitation", slow)
    call = api.customers.Invite(request(), metadata=api.as_("writer"))
    async with asyncio.timeout(20):
        await began.wait()
        call.cancel()
        await ended.wait()
        ended.clear()
        with pytest.raises(grpc.aio.AioRpcError):
            await api.customers.Invite(request(), metadata=api.as_("writer"), timeout=0.1)
        await ended.wait()


async def test_every_answer_names_its_request(api: Api) -> None:
    call = api.customers.Invite(request(), metadata=api.as_("writer", x_request_id="mine"))
    await call
    assert dict(list(await call.trailing_metadata()))["x-request-id"] == "mine"
    call = api.customers.Invite(request(), metadata=api.as_("writer", x_request_id="a b"))
    await call
    assert uuid.UUID(dict(list(await call.trailing_metadata()))["x-request-id"])


@pytest.mark.parametrize(
    "name", ["authorization", "idempotency-key", "Authorization", "last-event-id"]
)
async def test_a_header_that_must_be_one_is_refused_as_two(api: Api, name: str) -> None:
    """Without the gateway: whoever was the last would win."""
    more = tuple((name.lower(), value) for value in ("Bearer other-token", str(uuid.uuid4())))
    code, reason, status = await refusal(
        api.customers.Invite(request(), metadata=(*api.as_("writer"), *more))
    )
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID")
    assert "must be given once" in status.message
