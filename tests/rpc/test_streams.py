"""Streams of events over gRPC."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import grpc
import pytest
from billing.v1 import event_service_pb2, event_stream_service_pb2_grpc
from google.rpc import error_details_pb2

from server.config import Settings
from server.domain.access import Role, Subject, hash_token
from server.domain.errors import BillingError, Reason
from server.domain.events import event_id
from server.rpc.pipeline import concurrency, limits
from server.rpc.streams import encodings, feed, stream, streams
from server.storage.interface import EventPage
from server.storage.storage import SqlStorage
from tests.events import Happening, forget_events, happen, series
from tests.gateway.test_answers import STATUSES
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.storage.databases import query
from tests.storage.records import until

RESELLER, OTHER = "reseller-1", "reseller-2"
PARENT = f"resellers/{RESELLER}"
Response = event_service_pb2.WatchEventsResponse


@pytest.fixture(autouse=True)
async def empty_logs(api: Api) -> None:
    """The logs as they were before the readers got their roles."""
    await forget_events(api.storage)


def watch(api: Api, who: str = "reader", **fields: Any) -> Any:
    return api.events.WatchEvents(
        event_service_pb2.WatchEventsRequest(**{"parent": PARENT} | fields),
        metadata=api.as_(who),
    )


def number(message: Response) -> int:
    """Returns the number of the event that a message brings; minus that of a bare position."""
    found = int(message.position[3:15])
    if message.HasField("event"):
        assert message.event.name == f"{PARENT}/events/{message.position}"
        return found
    return -found


@asynccontextmanager
async def watching(api: Api, who: str = "reader", **fields: Any) -> AsyncIterator[Any]:
    """A stream that has begun, and is closed in the end."""
    call = watch(api, who, **fields)
    try:
        yield call
    finally:
        call.cancel()


async def read(call: Any, count: int) -> list[int]:
    """Returns the numbers of so many messages."""
    return [number(await call.read()) for _ in range(count)]


async def read_all(call: Any, found: list[int]) -> None:
    """Adds the numbers of all messages until the stream ends; raises how it does."""
    while True:
        found += await read(call, 1)


async def test_what_is_there_comes_first_and_then_what_is_new(api: Api) -> None:
    await happen(api.storage, *series(RESELLER, 3))
    async with watching(api) as call:
        assert await read(call, 4) == [0, 1, 2, 3]
        for count in (1, 5):
            await happen(api.storage, *series(RESELLER, count), *series(OTHER, 2))
        assert await read(call, 6) == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("after", "first"), [("", 0), ("latest", -5), (event_id(RESELLER, 2), -2)])
async def test_a_stream_begins_after_an_event(api: Api, after: str, first: int) -> None:
    await happen(api.storage, *series(RESELLER, 5))
    async with watching(api, after=after) as call:
        assert await read(call, 1) == [first]
        assert await read(call, 5 + first) == list(range(1 - first, 6))
        await happen(api.storage, *series(RESELLER, 1))
        assert await read(call, 1) == [6]


async def test_a_few_streams_begin_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_LONGEST_TURN_S", 60.0)
    look = api.storage.events.get_log_bounds
    at_once = [0]

    async def counted(reseller_id: str) -> Any:
        at_once.append(at_once[-1] + 1)
        await asyncio.sleep(0.01)
        at_once.append(at_once[-1] - 1)
        return await look(reseller_id)

    monkeypatch.setattr(api.storage.events, "get_log_bounds", counted)
    async with AsyncExitStack() as opened:
        calls = [await opened.enter_async_context(watching(api)) for _ in range(50)]
        assert [await read(call, 1) for call in calls] == [[0]] * len(calls)
    assert max(at_once) == limits.STREAMS_OPENED_AT_ONCE


async def test_a_filter_passes_some_and_positions_tell_of_the_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    await happen(api.storage, *series(RESELLER, 3), Happening(RESELLER, subject="ann"))
    async with watching(api, filter="actor.subject = ann") as call:
        assert await read(call, 2) == [0, 4]
        await happen(api.storage, *series(RESELLER, 2))
        while (position := number(await call.read())) == -4:
            pass
        assert position in (-5, -6)
        await happen(api.storage, Happening(RESELLER, subject="ann"))
        while (position := number(await call.read())) < 0:
            pass
        assert position == 7


async def test_who_is_behind_goes_past_what_does_not_fit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    await happen(api.storage, *series(RESELLER, 3))
    async with watching(api, filter="actor.subject = ann") as call, asyncio.timeout(20):
        while number(await call.read()) != -3:
            pass


async def test_a_long_log_is_read_to_its_end_and_followed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that are behind read pages, and join the others in between."""
    monkeypatch.setattr(feed, "MOST_KEPT", 7)
    monkeypatch.setattr(stream, "_PAGE", 10)
    await happen(api.storage, *series(RESELLER, 100))

    async def write() -> None:
        for _ in range(40):
            await happen(api.storage, *series(RESELLER, 5))

    writing = asyncio.create_task(write())
    calls = [watch(api, after=after) for after in ["", "", event_id(RESELLER, 50), "latest"]]
    for call in calls:
        found: list[int] = []
        while not found or found[-1] < 300:
            found += [each for each in await read(call, 1) if each > 0]
        assert found == list(range(found[0], 301))
        call.cancel()
    await writing


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"after": "nonsense"}, "FIELDS_INVALID"),
        ({"after": event_id(OTHER, 1)}, "FIELDS_INVALID"),
        ({"after": event_id(RESELLER, 9)}, "FIELDS_INVALID"),
        ({"filter": "x = y"}, "FIELDS_INVALID"),
        ({"parent": f"resellers/{OTHER}"}, "PERMISSION_MISSING"),
        ({"parent": f"resellers/{OTHER}", "filter": "x = y"}, "PERMISSION_MISSING"),
        ({"after": event_id(RESELLER, 1)}, "EVENTS_GONE"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_sent(
    api: Api, settings: Settings, fields: dict[str, str], reason: str
) -> None:
    await happen(api.storage, *series(RESELLER, 4))
    query(settings.database, "UPDATE event_logs SET cleared = 3 WHERE reseller = 1")
    _, found, _ = await refusal(watch(api, **fields).read())
    assert found == reason


@pytest.mark.parametrize("taken", ["role", "token", "reseller"])
async def test_who_may_read_no_longer_is_told(api: Api, taken: str) -> None:
    administration, at = api.storage.administration, api.clock()
    if taken == "token":
        await api.storage.administration.add_access_token(
            hash_token("short-token"), "reader", at, at + timedelta(days=1)
        )
    async with watching(api, "short" if taken == "token" else "reader") as call:
        await read(call, 1)
        if taken == "role":
            await administration.revoke_role("reader", RESELLER, Role.VIEWER, at)
        elif taken == "reseller":
            await administration.suspend_reseller(RESELLER, at)
        else:
            api.clock.advance(timedelta(days=2))
        found = [0]  # the event of the role that is revoked may come first
        async with asyncio.timeout(30):
            code, reason, status = await refusal(read_all(call, found))
        assert (code.name, reason) == {
            "role": ("PERMISSION_DENIED", "PERMISSION_MISSING"),
            "reseller": ("PERMISSION_DENIED", "RESELLER_SUSPENDED"),
            "token": ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
        }[taken]
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.metadata["position"] == event_id(RESELLER, found[-1])


async def test_a_reader_that_fails_ends_its_streams(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: object) -> None:
        raise LookupError("no such type")

    async with watching(api, after="latest") as call:
        await read(call, 1)
        monkeypatch.setattr(feed, "Encoded", broken)
        await happen(api.storage, *series(RESELLER, 1))
        async with asyncio.timeout(30):
            code, reason, status = await refusal(call.read())
    assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["position"] == event_id(RESELLER, 0)
    assert "events can't be read" in caplog.text


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BillingError(Reason.STORAGE_UNAVAILABLE, "Try again."), "STORAGE_UNAVAILABLE"),
        (BillingError(Reason.OVERLOADED, "Try again."), "OVERLOADED"),
        (RuntimeError("a bug"), "INTERNAL"),
    ],
)
async def test_a_right_that_cannot_be_proved_ends_streams_once_that_lasts(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    authenticator, failed = api.streams._authenticator, 0

    async def fail(authorization: str) -> Subject:
        nonlocal failed
        failed += 1
        raise error

    async with watching(api, after="latest") as call:
        await read(call, 1)
        with monkeypatch.context() as away:
            away.setattr(authenticator, "cached_subject", lambda _: None)
            away.setattr(authenticator, "authenticate", fail)
            await until(lambda: failed > 1)
        await happen(api.storage, *series(RESELLER, 1))
        assert await read(call, 1) == [1]
        monkeypatch.setattr(streams, "_LONGEST_UNPROVED_S", 0.0)
        monkeypatch.setattr(authenticator, "cached_subject", lambda _: None)
        monkeypatch.setattr(authenticator, "authenticate", fail)
        async with asyncio.timeout(30):
            assert (await refusal(call.read()))[1] == reason


async def test_a_server_that_stops_ends_its_streams_after_the_last_event(api: Api) -> None:
    async with watching(api, after="latest") as call:
        assert await read(call, 1) == [0]
        await happen(api.storage, *series(RESELLER, 3))
        await api.streams.stop()
        assert await read(call, 3) == [1, 2, 3]
        code, reason, status = await refusal(call.read())
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.metadata["position"] == event_id(RESELLER, 3)
    _, reason, _ = await refusal(watch(api).read())
    assert reason == "SERVER_STOPPING"


async def test_a_stream_ends_before_its_deadline_and_says_where(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [streams._goes_on_for_s(left_s) for left_s in (10.0, 0.4, 0.0)] == [9.75, 0.2, 0.0]
    monkeypatch.setattr(streams, "_goes_on_for_s", lambda left_s: left_s / 60)
    await happen(api.storage, *series(RESELLER, 2))
    call = api.events.WatchEvents(
        event_service_pb2.WatchEventsRequest(parent=PARENT),
        metadata=api.as_("reader"),
        timeout=60,
    )
    found: list[int] = []
    code, reason, status = await refusal(read_all(call, found))
    assert (code, reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["position"] == event_id(RESELLER, abs(found[-1]))
    stub: Any = event_stream_service_pb2_grpc.EventStreamServiceStub(api.channel)
    in_json = stub.WatchEvents(
        event_service_pb2.WatchEventsRequest(parent=PARENT, after="latest"),
        metadata=api.as_("reader", accept="application/connect+json"),
        timeout=60,
    )
    assert frame((await in_json.read()).data)[0] == 0
    flag, end = frame((await in_json.read()).data)
    assert (flag, end["error"]["code"]) == (2, "deadline_exceeded")
    assert await in_json.read() is grpc.aio.EOF
    assert not api.streams._streams


async def test_a_stream_of_connect_ends_with_a_frame_that_has_the_error(api: Api) -> None:
    stub: Any = event_stream_service_pb2_grpc.EventStreamServiceStub(api.channel)
    call = stub.WatchEvents(
        event_service_pb2.WatchEventsRequest(parent=PARENT, after="latest"),
        metadata=api.as_("reader", accept="application/connect+json"),
    )
    begun = await call.read()
    assert begun.content_type == "application/connect+json"
    assert frame(begun.data) == (0, {"position": event_id(RESELLER, 0)})
    await happen(api.storage, *series(RESELLER, 1))
    flag, message = frame((await call.read()).data)
    assert (flag, message["position"]) == (0, event_id(RESELLER, 1))
    await api.streams.stop()
    flag, end = frame((await call.read()).data)
    assert (flag, set(end), end["error"]["code"]) == (2, {"error"}, "unavailable")
    details = {
        each["type"]: base64.b64decode(each["value"] + "=" * (-len(each["value"]) % 4))
        for each in end["error"]["details"]
    }
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.metadata["position"]) == ("SERVER_STOPPING", message["position"])
    assert "google.rpc.RetryInfo" in details
    assert await call.read() is grpc.aio.EOF


def frame(data: bytes) -> tuple[int, Any]:
    """Returns the flag and the JSON of bytes that are one frame."""
    flag, size = struct.unpack(">BI", data[:5])
    assert size == len(data) - 5
    return flag, json.loads(data[5:])


async def test_who_does_not_read_is_slowed_and_then_ended(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLOWEST_S", 1.0)
    await happen(api.storage, *series(RESELLER, 3000))
    async with (
        grpc.aio.insecure_channel(api.address, [("grpc.http2.bdp_probe", 0)]) as other,
        watching(api) as quick,
    ):
        slow = other.unary_stream(
            "/billing.v1.EventService/WatchEvents",
            request_serializer=event_service_pb2.WatchEventsRequest.SerializeToString,
            response_deserializer=Response.FromString,
        )(event_service_pb2.WatchEventsRequest(parent=PARENT), metadata=api.as_("reader"))
        await slow.read()
        assert (await read(quick, 3001))[-1] == 3000
        await until(lambda: len(api.streams._streams) == 1)
        # What is on its way arrives, and then the reason.
        found = [0]
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await read_all(slow, found)
        assert found == list(range(len(found)))
        assert len(found) < 3000
        assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "position" in str(ended.value.details())
        # The other one goes on.
        await happen(api.storage, *series(RESELLER, 1))
        assert await read(quick, 1) == [3001]


class TestManyStreams:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_streams": 6})

    async def test_one_caller_has_half_of_the_streams(self, api: Api) -> None:
        calls = [watch(api) for _ in range(3)]
        for call in calls:
            await read(call, 1)
        code, reason, _ = await refusal(watch(api).read())
        assert (code.name, reason) == ("RESOURCE_EXHAUSTED", "STREAM_LIMIT_REACHED")
        async with watching(api, "foreigner", parent=f"resellers/{OTHER}") as other:
            assert (await other.read()).position
        calls.pop().cancel()
        await until(lambda: len(api.streams._streams) == 2)
        async with watching(api) as call:
            await read(call, 1)
        for call in calls:
            call.cancel()


async def test_nothing_is_left_of_closed_streams(api: Api) -> None:
    for _ in range(3):
        async with watching(api) as call:
            await read(call, 1)
            assert len(api.streams._streams) == len(api.streams._feeds._feeds) == 1
        await until(lambda: not api.streams._streams and not api.streams._feeds._feeds)


async def test_what_no_signal_tells_of_is_found_by_one_look_at_all_logs(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, looks = api.storage.events, []
    get_log_ends = events.get_log_ends

    async def look(reseller_ids: Sequence[str]) -> Sequence[int]:
        looks.append(sorted(reseller_ids))
        return await get_log_ends(reseller_ids)

    async def read_in_vain(*_: object) -> EventPage:
        raise AssertionError("nothing has happened")

    await api.storage.administration.grant_role("reader", OTHER, Role.VIEWER, api.clock())
    await forget_events(api.storage)
    monkeypatch.setattr(events, "get_log_ends", look)
    cast("SqlStorage", api.storage)._notifier.on_log.clear()
    async with (
        watching(api, after="latest") as call,
        watching(api, parent=f"resellers/{OTHER}", after="latest") as other,
    ):
        await read(call, 1)
        await other.read()
        with monkeypatch.context() as idle:
            idle.setattr(events, "list_events", read_in_vain)
            await until(lambda: len(looks) > 1)
        await happen(api.storage, *series(RESELLER, 1))
        assert await read(call, 1) == [1]
    assert looks[-1] == [RESELLER, OTHER]


async def test_where_the_ends_cannot_be_read_each_log_is(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Sequence[str]) -> Sequence[int]:
        raise BillingError(Reason.OVERLOADED, "Try again.")

    monkeypatch.setattr(api.storage.events, "get_log_ends", fail)
    cast("SqlStorage", api.storage)._notifier.on_log.clear()
    async with watching(api, after="latest") as call:
        await read(call, 1)
        await happen(api.storage, *series(RESELLER, 1))
        assert await read(call, 1) == [1]


async def test_streams_are_woken_to_tell_their_positions_a_few_at_a_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many that tell it at once would hold all other calls up for as long."""
    monkeypatch.setattr(streams, "_WOKEN_IN_TURN", 2)
    calls = [watch(api, after="latest") for _ in range(5)]
    for call in calls:
        await read(call, 1)
    # A client may have a message before the stream knows that it is sent.
    async with asyncio.timeout(10):
        while not all(each._heartbeat_at for each in api.streams._streams):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    # As if nothing looked at them for long.
    for each in api.streams._streams:
        each._heartbeat_at = 0.0
    turns: list[int] = []

    async def turn(_: float) -> None:
        turns.append(sum(each._awake.is_set() for each in api.streams._streams))

    with monkeypatch.context() as counted:
        counted.setattr(asyncio, "sleep", turn)
        await api.streams._look_at_each()
    assert turns == [2, 4]
    for call in calls:
        assert await read(call, 1) == [0]
        call.cancel()


@pytest.mark.parametrize("accepts", ["application/x-ndjson", "text/event-stream"])
async def test_a_stream_over_rest_ends_with_an_error_as_all_under_v1_are(
    api: Api, accepts: str
) -> None:
    stub: Any = event_stream_service_pb2_grpc.EventStreamServiceStub(api.channel)
    call = stub.WatchEvents(
        event_service_pb2.WatchEventsRequest(parent=PARENT, after="latest"),
        metadata=api.as_("reader", accept=accepts),
    )
    assert (await call.read()).content_type == accepts
    await api.streams.stop()
    last = (await call.read()).data.decode()
    error = json.loads(last.removeprefix("event: error\ndata: "))["error"]
    assert set(error) == {"code", "message", "status", "details"}
    assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
    assert error["details"][0]["metadata"] == {"position": event_id(RESELLER, 0)}
    assert await call.read() is grpc.aio.EOF


def test_errors_of_streams_have_the_http_statuses_of_all_others() -> None:
    assert dict(enumerate(encodings._HTTP_STATUSES)) == {0: 200, **STATUSES}
