"""How often Envoy sends a call upstream: again only where that can't do a change twice."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc.aio
import httpx
import pytest
from h2.errors import ErrorCodes

from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.resetting import resetting
from tests.gateway.test_answers import GET, INVITE, failing
from tests.gateway.test_native import unary
from tests.gateway.upstream import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = {"idempotency-key": "6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14"}
# What a caller would say to Envoy if it could.
STEERING = {
    "x-envoy-retry-on": "5xx,reset,retriable-4xx",
    "x-envoy-retry-grpc-on": "unavailable,cancelled,internal",
    "x-envoy-max-retries": "5",
}
# Calls, and how often each may be sent if nobody knows whether it was done.
CALLS = {
    "a read": (GET, {}, 3),
    "a write": (INVITE, {}, 1),
    "a write with a key": (INVITE, KEY, 3),
    "a write that would steer Envoy": (INVITE, STEERING, 1),
    "a read that would steer Envoy": (GET, STEERING, 3),
}
REST = {GET: ("GET", "/operations/a"), INVITE: ("POST", "/billing/v1/customers:invite")}

Send = Callable[[GatewayHarness, str, dict[str, str]], Awaitable[None]]


async def by_grpc(harness: GatewayHarness, method: str, headers: dict[str, str]) -> None:
    """Calls natively; the call must fail."""
    async with grpc.aio.insecure_channel(harness.grpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await unary(channel, method)(b"", metadata=tuple(headers.items()))


async def by_rest(harness: GatewayHarness, method: str, headers: dict[str, str]) -> None:
    """Calls over REST; the call must fail."""
    verb, path = REST[method]
    async with httpx.AsyncClient(base_url=harness.rest, timeout=10) as client:
        answer = await client.request(verb, path, headers=headers)
        assert answer.status_code >= 400


@pytest.fixture(params=[by_grpc, by_rest])
def send(request: pytest.FixtureRequest) -> Send:
    found: Send = request.param
    return found


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [1, 14])
async def test_what_the_server_could_not_do(
    harness: GatewayHarness, send: Send, call: str, code: int
) -> None:
    """CANCELLED and UNAVAILABLE are what calls meet while a server shuts down."""
    method, headers, tries = CALLS[call]
    harness.upstream.answers[method] = failing(code)
    await send(harness, method, headers)
    assert [seen.method for seen in harness.upstream.calls] == [method] * tries


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [2, 4, 8, 10, 13])
async def test_what_the_server_has_answered(
    harness: GatewayHarness, send: Send, call: str, code: int
) -> None:
    method, headers, _ = CALLS[call]
    harness.upstream.answers[method] = failing(code)
    await send(harness, method, headers)
    assert len(harness.upstream.calls) == 1


@pytest.mark.parametrize("call", [call for call, (_, headers, _) in CALLS.items() if headers])
async def test_no_caller_steers_envoy_behind_a_proxy_either(
    tmp_path: Path, send: Send, call: str
) -> None:
    method, headers, tries = CALLS[call]
    async with running(tmp_path, trusted_proxies=["127.0.0.0/8"]) as harness:
        harness.upstream.answers[method] = failing(14)
        await send(harness, method, headers | {"x-forwarded-for": "192.0.2.1"})
        assert len(harness.upstream.calls) == tries


@pytest.mark.parametrize("call", CALLS)
async def test_a_stream_that_breaks_off_after_the_request(
    tmp_path: Path, send: Send, call: str
) -> None:
    """Whether the server did it nobody knows."""
    method, headers, tries = CALLS[call]
    async with resetting(ErrorCodes.INTERNAL_ERROR) as (upstream, address):
        async with _before(tmp_path, address) as harness:
            await send(harness, method, headers)
        assert upstream.seen[method] == tries


@pytest.mark.parametrize("call", CALLS)
async def test_a_stream_that_the_server_refuses(tmp_path: Path, send: Send, call: str) -> None:
    """By HTTP/2 the server has done nothing of it: again is safe for every call."""
    method, headers, _ = CALLS[call]
    async with resetting(ErrorCodes.REFUSED_STREAM) as (upstream, address):
        async with _before(tmp_path, address) as harness:
            await send(harness, method, headers)
        assert upstream.seen[method] == 3


@contextlib.asynccontextmanager
async def _before(var: Path, address: str) -> AsyncIterator[GatewayHarness]:
    """Runs an Envoy before an upstream that is not one of `Upstream`."""
    unused = Upstream(Path(__file__).parents[2] / "gen" / "descriptors.pb")
    async with running(var, unused, upstreams=[address]) as harness:
        yield harness
