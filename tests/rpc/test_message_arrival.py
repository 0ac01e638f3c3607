"""Calls that bring no message, half of one, one that is too large, or whose caller goes meanwhile."""

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from yandex.cloud.billing.v1 import customer_service_pb2

from server.config import Settings
from server.domain.errors import BillingError, Reason
from server.rpc.grpc_core import CALL_IS_OVER, filter_logs
from server.rpc.pipeline.abort import abort
from server.rpc.pipeline.message_reader import MessageReader
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_message_parsing import CHECK, GET, REFLECTION, WATCH

LIST_ADDRESSES = "/yandex.cloud.endpoint.ApiEndpointService/List"
HALF = struct.pack(">BI", 0, 100) + b"half"


class Wire:
    """An HTTP/2 connection whose streams are left as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()

    def begin(self, path: str, authorization: str = "", body: bytes = b"") -> int:
        """Begins a call that does not end."""
        stream = self.http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        if authorization:
            headers.append(("authorization", authorization))
        self.http.send_headers(stream, headers)
        if body:
            self.http.send_data(stream, body)
        return stream

    async def send(self) -> None:
        self._writer.write(self.http.data_to_send())
        await self._writer.drain()

    async def statuses(self, count: int) -> dict[int, str]:
        """Returns the gRPC status of so many streams, as they end."""
        found: dict[int, str] = {}
        while len(found) < count:
            for event in self.http.receive_data(await self._reader.read(1 << 16)):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    headers: Any = dict(event.headers or ())
                    if "grpc-status" in headers:
                        found[event.stream_id or 0] = headers["grpc-status"]
            await self.send()
        return found

    async def pinged(self) -> h2.events.Event:
        """Returns the answer to a ping, or the end of the connection."""
        while True:
            for event in self.http.receive_data(await self._reader.read(1 << 16)):
                if isinstance(event, h2.events.PingAckReceived | h2.events.ConnectionTerminated):
                    return event

    def close(self) -> None:
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Wire]:
    host, _, port = api.address.partition(":")
    wire = Wire(*await asyncio.open_connection(host, int(port)))
    try:
        yield wire
    finally:
        wire.close()


async def test_a_caller_without_identity_is_refused_before_its_message(api: Api) -> None:
    async with connected(api) as wire, asyncio.timeout(30):
        sent = [wire.begin(GET), wire.begin(GET, "Bearer nobody-knows", HALF)]
        await wire.send()
        assert await wire.statuses(2) == dict.fromkeys(sent, "16")


async def test_a_call_brings_its_message_within_seconds(api: Api) -> None:
    methods = (GET, CHECK, WATCH, REFLECTION, LIST_ADDRESSES)
    async with connected(api) as wire, asyncio.timeout(20):
        sent = [
            wire.begin(path, "Bearer writer-token", body)
            for path in methods
            for body in (b"", HALF)
        ]
        await wire.send()
        assert await wire.statuses(len(sent)) == dict.fromkeys(sent, "4")
    # What timed out is over and harms no other call.
    await api.customers.List(_list(api), metadata=api.as_("reader"))


def _list(api: Api) -> Any:
    return customer_service_pb2.ListCustomersRequest(reseller_id=api.reseller)


class Silent:
    """A call whose message never comes."""

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""


class Prompt:
    """A call that has its message."""

    async def read(self) -> bytes:
        return b"here"


async def test_of_too_many_waiting_calls_the_oldest_is_refused() -> None:
    reader = MessageReader(2, within_s=3600)
    silent = [asyncio.create_task(reader.next(Silent())) for _ in range(4)]  # type: ignore[arg-type]
    await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED)
    assert await reader.next(Prompt()) == b"here"  # type: ignore[arg-type]
    for task in silent[:2]:
        with pytest.raises(BillingError) as late:
            await task
        assert late.value.reason is Reason.DEADLINE_EXCEEDED
    assert not silent[3].done()
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_a_connection_that_says_nothing_is_closed(api: Api) -> None:
    host, _, port = api.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(15):
        while await reader.read(100):
            pass  # the server's own settings
    writer.close()


@pytest.mark.parametrize("how", ["cut short", "reset", "reset later", "closed"])
async def test_a_caller_that_leaves_is_not_logged(
    api: Api, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(30):
        async with connected(api) as wire:
            for path in (GET, CHECK, WATCH, REFLECTION, LIST_ADDRESSES):
                for body in (b"", HALF, bytes(5)):
                    stream = wire.begin(path, "Bearer writer-token", body)
                    if how == "cut short":
                        wire.http.end_stream(stream)
                    elif how == "reset later":
                        await wire.send()
                        await asyncio.sleep(0)
                        wire.http.reset_stream(stream)
                    elif how == "reset":
                        wire.http.reset_stream(stream)
            await wire.send()
            if how == "cut short":
                await asyncio.sleep(0.01)
    await api.customers.List(_list(api), metadata=api.as_("reader"))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class Gone:
    """A call whose caller has gone."""

    async def abort_with_status(self, status: grpc.Status) -> None:
        raise CALL_IS_OVER(str(status))


async def test_a_call_that_is_over_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    gone: Any = Gone()
    with pytest.raises(asyncio.CancelledError):
        await abort(gone, BillingError(Reason.NOT_FOUND, "No."), "an id")
    filter_logs()
    try:
        raise CALL_IS_OVER("gone")
    except CALL_IS_OVER:
        for name in ("grpc._cython.cygrpc", "asyncio"):
            logging.getLogger(name).exception("raised by servicer")
    assert not caplog.records


@pytest.mark.parametrize("times", [1.000001, 3.9, 10])
async def test_a_message_over_the_limit_is_refused_in_our_words(
    api: Api, settings: Settings, times: float
) -> None:
    send: Any = api.channel.unary_unary(GET)
    large = bytes(int(settings.max_body_bytes * times))
    code, reason, _ = await refusal(send(large, metadata=api.as_("writer")))
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


async def test_a_client_may_ping_while_it_waits(api: Api) -> None:
    """The core would take it for an attack by default."""
    async with connected(api) as wire, asyncio.timeout(60):
        stream = wire.begin(WATCH, body=bytes(5))
        wire.http.end_stream(stream)
        for number in range(6):
            wire.http.ping(bytes([number] * 8))
            await wire.send()
            assert isinstance(await wire.pinged(), h2.events.PingAckReceived)
            await asyncio.sleep(1.1)
