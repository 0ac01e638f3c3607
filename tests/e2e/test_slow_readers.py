"""Who reads a stream over REST too slowly, through the real Envoy: slowed, then ended and told."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from billing.v1 import event_service_pb2

from server.config import Settings
from server.domain.access import Actor, Role
from server.domain.events import EventType, event_id
from server.rpc.streams import stream
from server.storage.events.log import NewEvent, log
from server.storage.resellers import require_reseller
from server.storage.schema.tables import CustomerNumber, EventJson
from server.storage.sql.statements import Transaction
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from tests.events import AT
from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.upstream import Upstream
from tests.rpc.conftest import Api, serving

RESELLER = "reseller-1"
EVENTS = 8_000  # of 1.7 KB each: more than the kernel and the gateway hold for one connection
_NAME = "N" * 1000
MIB = 1 << 20


def write_large_events(transaction: Transaction, batch: Sequence[int]) -> list[None]:
    reseller, at = require_reseller(transaction, RESELLER), micros(AT)
    for count in batch:
        for number in range(1, count + 1):
            data = EventJson(f'["bcu{number:017d}",2,"{_NAME}","{{}}",null,{at},{at},null]')
            about = CustomerNumber(number)
            log(
                transaction,
                NewEvent(
                    *(reseller, EventType.CUSTOMER_ACTIVATED, at, Actor("x"), data), customer=about
                ),
            )
    return [None] * len(batch)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(Settings(var=tmp_path, rate_limit=0)) as api:
        for _ in range(8):
            storage = cast("SqlStorage", api.storage)
            await storage._writes.submit(write_large_events, EVENTS // 8)
        yield api


class Reader:
    """A connection that asks for the stream and reads when the test does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, gateway: GatewayHarness, accept: str) -> "Reader":
        opened = await asyncio.open_connection(
            "127.0.0.1", gateway.settings.http_port, limit=1 << 16
        )
        opened[1].write(
            f"GET /v1/resellers/{RESELLER}/events:watch HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer reader-token\r\naccept: {accept}\r\n\r\n".encode()
        )
        return cls(*opened)

    async def all(self) -> list[dict[str, Any]]:
        """Returns all messages to the stream's end, of a chunked answer."""
        async with asyncio.timeout(20):
            await self._reader.readuntil(b"\r\n\r\n")
            body = bytearray()
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
        self._writer.close()
        return [
            json.loads(found) for found in re.findall(rb"^(?:data: )?(\{.*\})$", body, re.MULTILINE)
        ]


async def allocated(gateway: GatewayHarness) -> int:
    """Returns the bytes that Envoy has allocated."""
    _, answer = await gateway.gateway._admin._call("GET", "/memory")
    return int(json.loads(answer)["allocated"])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.02)


async def until_slow(api: Api) -> None:
    """Returns once the server waits for the reader of its one stream, for longer than messages take."""
    now = asyncio.get_running_loop().time
    await until(
        lambda: any(
            each._writing_since and now() - each._writing_since > 0.5
            for each in api.streams._streams
        )
    )


async def next_event(api: Api, position: str) -> str:
    page = await api.events.ListEvents(
        event_service_pb2.ListEventsRequest(
            parent=f"resellers/{RESELLER}", after=position, page_size=1
        ),
        metadata=api.as_("reader"),
    )
    return str(page.events[0].name.rpartition("/")[2])


async def test_slow_readers_are_slowed_and_then_told(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLOWEST_S", 1.0)
    none = cast("Upstream", object())  # the server is one of ours
    async with running(tmp_path / "gateway", upstream=none, upstreams=[api.address]) as gateway:
        for accept in ("*/*", "text/event-stream"):
            await told(api, gateway, accept)
        # Who never reads again is broken off, and holds no place.
        reader = await Reader.open(gateway, "*/*")
        await until_slow(api)
        await until(lambda: not api.streams._streams)
        got = await reader.all()  # what was under way
        assert got[-1]["position"] == event_id(RESELLER, len(got) - 1)


async def told(api: Api, gateway: GatewayHarness, accept: str) -> None:
    of_gateway = await allocated(gateway)
    of_server = psutil.Process().memory_info().rss
    reader = await Reader.open(gateway, accept)
    await until_slow(api)
    (slow,) = api.streams._streams
    # Twice the buffer that it may have, and some.
    assert await allocated(gateway) - of_gateway < 12 * MIB
    assert psutil.Process().memory_info().rss - of_server < 32 * MIB
    # It is ended while nothing is read, and told once it reads again.
    await until(lambda: slow._error is not None)
    got = await reader.all()
    last = got.pop()
    error = last["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"][0]["reason"] == "READER_TOO_SLOW"
    # What came is without a gap, and the position is that of the last event.
    positions = [each["position"] for each in got]
    assert positions == [event_id(RESELLER, number) for number in range(len(positions))]
    assert len(positions) < EVENTS
    assert error["details"][0]["metadata"]["position"] == positions[-1]
    assert await next_event(api, positions[-1]) == event_id(RESELLER, len(positions))


async def test_a_reader_that_is_stuck_is_broken_off_with_its_right(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the seconds that others have: it may hold nothing that it may not read."""
    monkeypatch.setattr(stream, "SLOWEST_S", 120.0)
    none = cast("Upstream", object())
    async with running(tmp_path / "gateway", upstream=none, upstreams=[api.address]) as gateway:
        reader = await Reader.open(gateway, "*/*")
        await until_slow(api)
        await api.storage.administration.revoke_role("reader", RESELLER, Role.VIEWER, api.clock())
        async with asyncio.timeout(60):
            await until(lambda: not api.streams._streams)
        assert len(await reader.all()) < EVENTS  # what was under way
