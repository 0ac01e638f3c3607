"""Answers that nobody reads: an address has so many requests under way, and more are refused at no cost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h2.connection
import httpx
import pytest
from h2.config import H2Configuration
from h2.events import ResponseReceived, StreamEnded
from h2.settings import SettingCodes

from gateway import shares
from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.test_known_tokens import token

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST, MOST_NATIVE = 3, 5
GET = "/yandex.cloud.operation.OperationService/Get"
ENDPOINTS = "/yandex.cloud.endpoint.ApiEndpointService/List"
EMPTY = b"\0\0\0\0\0"
# As in gateway/lua/open_requests.lua.
FEW = 32
WAIT = "/google.longrunning.Operations/WaitOperation"


class Unread:
    """A connection of HTTP/2 whose answers may have no body, since none would be read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = h2.connection.H2Connection(H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()
        self._connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self.open: set[int] = set()
        self.answer: dict[str, str] = {}

    async def ask(self, path: str, credentials: str = "", message: bytes = b"", **more: str) -> str:
        """Returns the status; `answer` has all headers then. With a message it is a POST."""
        stream = self._connection.get_next_available_stream_id()
        headers = [
            (":method", "POST" if message else "GET"),
            (":path", path),
            (":scheme", "http"),
            (":authority", "a"),
        ]
        headers += [("authorization", credentials)] if credentials else []
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        self._connection.send_headers(stream, headers, end_stream=not message)
        if message:
            self._connection.send_data(stream, message, end_stream=True)
        self.open.add(stream)
        self._writer.write(self._connection.data_to_send())
        status = ""
        while not status:
            received = await self._reader.read(65536)
            assert received
            for event in self._connection.receive_data(received):
                if isinstance(event, StreamEnded):
                    self.open.discard(event.stream_id)
                if isinstance(event, ResponseReceived):
                    assert event.headers is not None
                    answered: Any = dict(event.headers)
                    self.answer, status = answered, answered[":status"]
                    if event.stream_ended is not None:
                        self.open.discard(event.stream_id)
        return status


@contextlib.asynccontextmanager
async def connected(harness: GatewayHarness, address: str = "127.0.0.1") -> AsyncIterator[Unread]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", harness.settings.http_port, local_addr=(address, 0)
    )
    with contextlib.closing(writer):
        yield Unread(reader, writer)


@pytest.fixture
async def narrow(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[GatewayHarness]:
    """A gateway in which one address, and one token, has very few requests under way."""
    monkeypatch.setattr("gateway.shares.MOST_OPEN", MOST)
    monkeypatch.setattr("gateway.known_tokens.MOST_REST", MOST)
    monkeypatch.setattr("gateway.known_tokens.MOST_NATIVE", MOST_NATIVE)
    monkeypatch.setattr("gateway.known_tokens.MOST_LASTING", MOST)
    async with running(
        tmp_path, upstream=harness.upstream, upstreams=harness.settings.upstreams
    ) as own:
        yield own


async def test_an_address_has_few_requests_under_way(narrow: GatewayHarness) -> None:
    async with connected(narrow) as unread:
        # Of all kinds: of the server, of the documentation, of nowhere, with a token that nobody knows.
        taken = [await unread.ask(path) for path in ("/endpoints", "/docs")]
        taken.append(await unread.ask("/nowhere"))
        assert taken == ["200", "200", "404"]
        assert len(unread.open) == MOST
        for path in ("/endpoints", "/docs", "/nowhere"):
            assert await unread.ask(path) == "429"
        # The refusals were over at once, although nobody read them.
        assert len(unread.open) == MOST
        # Who shares the address is served.
        for address in ("127.0.0.1", "127.0.0.2"):
            async with connected(narrow, address) as other:
                assert await other.ask("/endpoints") == "200"


async def test_requests_that_are_over_leave_room(narrow: GatewayHarness) -> None:
    async with connected(narrow) as unread:
        for _ in range(MOST):
            assert await unread.ask("/endpoints") == "200"
    async with asyncio.timeout(10):
        while True:
            async with connected(narrow) as unread:
                if {await unread.ask("/endpoints") for _ in range(MOST)} == {"200"}:
                    break


async def test_a_caller_who_reads_asks_as_often_as_it_likes(rest: httpx.AsyncClient) -> None:
    """More than its connection's share, than an unknown token may, and than may be under way at once."""
    del rest.headers["authorization"]
    for _ in range(2 * shares.MOST_OPEN):
        assert (await rest.get("/operations/a")).status_code == 200


async def test_unknown_tokens_have_the_same_share(narrow: GatewayHarness) -> None:
    async with connected(narrow) as unread:
        statuses = [await unread.ask("/operations/a", token()) for _ in range(MOST + 1)]
        assert statuses[-1] == "429"
        assert len(unread.open) == MOST


async def test_a_known_token_has_few_requests_under_way(narrow: GatewayHarness) -> None:
    greedy, other = token(), token()
    native = {"content_type": "application/grpc", "te": "trailers"}
    async with (
        connected(narrow) as unread,
        httpx.AsyncClient(base_url=narrow.rest, headers={"authorization": other}) as h1,
    ):
        # With the first it becomes known.
        taken = [await unread.ask("/operations/a", greedy) for _ in range(1 + MOST)]
        assert set(taken) == {"200"}
        assert await unread.ask("/operations/a", greedy) == "429"
        assert unread.answer["retry-after"] == "1"
        assert len(unread.open) == 1 + MOST
        # Over HTTP/1.1, where each takes a connection, and by gRPC a few more, which take less; and waits by themselves.
        for path, most in ((GET, MOST_NATIVE - MOST), (WAIT, MOST)):
            for _ in range(most):
                await unread.ask(path, greedy, EMPTY, **native)
                assert "grpc-status" not in unread.answer
            await unread.ask(path, greedy, EMPTY, **native)
            assert unread.answer["grpc-status"] == "8"
            assert "grpc-status-details-bin" in unread.answer
        # Another caller is served, and over HTTP/1.1, where each takes a connection, has more by REST.
        for _ in range(1 + MOST):
            assert await unread.ask("/operations/a", other) == "200"
        assert (await h1.get("/operations/a")).status_code == 200


@pytest.mark.parametrize("credentials", ["", token()])
async def test_few_answers_are_packed_before_they_are_read(
    harness: GatewayHarness, credentials: str
) -> None:
    """What packs an answer takes 200 KB of the gateway until it is read."""

    async def long(_: Any, __: Any) -> Any:
        return harness.upstream.message("yandex.cloud.operation.Operation")(description="a" * 5000)

    async def many(_: Any, __: Any) -> Any:
        answer = harness.upstream.message("yandex.cloud.endpoint.ListApiEndpointsResponse")()
        for _ in range(100):
            answer.endpoints.add(id="a", address="a")
        return answer

    harness.upstream.answers |= {GET: long, ENDPOINTS: many}
    packed = []
    async with connected(harness) as unread:
        for _ in range(FEW + 10):
            path = "/operations/a" if credentials else "/endpoints"
            assert await unread.ask(path, credentials, accept_encoding="gzip") == "200"
            packed.append(unread.answer.get("content-encoding"))
    assert packed[0] == "gzip"
    assert 0 < packed.count("gzip") <= FEW + 1
    assert packed[-1] is None
