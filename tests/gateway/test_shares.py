"""Strangers' calls beyond the shares of a connection and an address stand in a line of their own."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from gateway.known_tokens import CLUSTER
from gateway.route_parts import ANONYMOUS_CLUSTER
from gateway.shares import BUSY_CLUSTER, PER_CONNECTION
from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.status import check_refusal
from tests.gateway.test_known_tokens import connection, taken, token
from tests.gateway.test_native import unary

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = "/yandex.cloud.endpoint.ApiEndpointService/List"
GET = "/yandex.cloud.operation.OperationService/Get"
# The gateway has a thread for each core, and a second may begin while calls are sent: one address is
# told apart in a gateway whose shares are all one connection's, the least of numbers.
MANY = 3 * PER_CONNECTION


@contextlib.asynccontextmanager
async def counted(harness: GatewayHarness, *clusters: str) -> AsyncIterator[list[int]]:
    """Gives how many calls have gone by each of the clusters in the block, once it has ended."""
    before = [await taken(harness, cluster) for cluster in clusters]
    more: list[int] = []
    yield more
    more += [await taken(harness, each) - was for each, was in zip(clusters, before, strict=True)]


async def call_many(
    harness: GatewayHarness, method: str, headers: Sequence[tuple[str, str]]
) -> None:
    async with connection(harness) as channel:
        call = unary(channel, method)
        await asyncio.gather(*(call(b"", metadata=headers) for _ in range(MANY)))


async def test_calls_without_credentials_beyond_a_connections_share(
    harness: GatewayHarness,
) -> None:
    async with counted(harness, ANONYMOUS_CLUSTER, BUSY_CLUSTER) as lines:
        await call_many(harness, OPEN, ())
    ordinary, busy = lines
    assert ordinary + busy == MANY
    # A second may have begun meanwhile.
    assert PER_CONNECTION <= ordinary <= 2 * PER_CONNECTION
    async with (
        counted(harness, ANONYMOUS_CLUSTER, BUSY_CLUSTER) as lines,
        connection(harness) as new,
    ):
        await unary(new, OPEN)(b"")
    assert lines == [1, 0]


async def test_unknown_tokens_beyond_a_connections_share(harness: GatewayHarness) -> None:
    async with counted(harness, CLUSTER, BUSY_CLUSTER) as lines, connection(harness) as channel:
        call = unary(channel, GET)
        await asyncio.gather(
            *(call(b"", metadata=(("authorization", token()),)) for _ in range(MANY))
        )
    ordinary, busy = lines
    assert ordinary + busy == MANY
    assert PER_CONNECTION <= ordinary <= 2 * PER_CONNECTION


async def test_a_token_becomes_known_in_that_line_too(harness: GatewayHarness) -> None:
    own = token()
    async with connection(harness) as channel:
        await asyncio.gather(
            *(unary(channel, GET)(b"", metadata=(("authorization", own),)) for _ in range(MANY))
        )
        async with counted(harness, CLUSTER, BUSY_CLUSTER) as lines:
            await unary(channel, GET)(b"", metadata=(("authorization", own),))
    assert lines == [0, 0]


async def get_from(harness: GatewayHarness, address: str, count: int) -> None:
    """Asks so many times from the address, each time on a connection of its own."""

    async def ask() -> None:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(transport=transport, base_url=harness.rest) as client:
            assert (await client.get("/endpoints")).status_code == 200

    for start in range(0, count, 100):
        await asyncio.gather(*(ask() for _ in range(min(100, count - start))))


async def test_an_address_has_a_share_whatever_its_connections(
    harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gateway.shares.PER_ADDRESS", 1)
    async with running(
        tmp_path, upstream=harness.upstream, upstreams=harness.settings.upstreams
    ) as own:
        async with counted(own, ANONYMOUS_CLUSTER, BUSY_CLUSTER) as lines:
            await get_from(own, "127.0.0.2", 50)
        ordinary, busy = lines
        assert ordinary + busy == 50
        assert busy
        async with counted(own, BUSY_CLUSTER) as lines:
            await get_from(own, "127.0.0.3", 1)
        assert lines == [0]


def caller(harness: GatewayHarness, address: str) -> httpx.AsyncClient:
    """A client at one of the addresses of this machine."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    return httpx.AsyncClient(base_url=harness.rest, transport=transport, timeout=30)


async def test_one_file_is_not_sent_without_end(harness: GatewayHarness) -> None:
    """Envoy holds a copy of it for each request whose answer nobody reads."""
    async with contextlib.AsyncExitStack() as opened:
        callers = [
            await opened.enter_async_context(caller(harness, f"127.0.1.{number}"))
            for number in range(1, 21)
        ]
        asked = [each.get("/docs/start.js") for each in callers for _ in range(10)]
        found = Counter(answer.status_code for answer in await asyncio.gather(*asked))
        assert set(found) == {200, 429}
        assert found[200] >= 30
        # Another file is another matter.
        assert (await callers[0].get("/docs")).status_code == 200


async def test_one_address_does_not_take_the_documents_from_others(
    harness: GatewayHarness,
) -> None:
    async with caller(harness, "127.0.0.7") as greedy, caller(harness, "127.0.0.8") as other:
        for path in ("/openapi.json", "/docs/swagger-ui.css"):
            answers = await asyncio.gather(*(greedy.get(path) for _ in range(150)))
            refused = [answer for answer in answers if answer.status_code != 200]
            assert refused
            check_refusal(refused[0], 429, 8, "RATE_EXCEEDED")
            for _ in range(3):
                assert (await other.get(path)).status_code == 200
