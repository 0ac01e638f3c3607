"""One Envoy and one upstream for all tests of this folder; a test that breaks them makes its own."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
import pytest_asyncio

from gateway.certificates import Certificates, ensure_certificates
from gateway.envoy import Gateway
from gateway.settings import GatewaySettings
from tests.gateway.upstream import Upstream
from tests.service import free_ports

MAX_BODY_BYTES = 64 << 10
# What may be a token; the gateway lets those without send little.
TOKEN = {"authorization": "Bearer t.o-k"}


@dataclass(frozen=True)
class GatewayHarness:
    """What a test talks to."""

    gateway: Gateway
    settings: GatewaySettings
    certificates: Certificates
    upstream: Upstream

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def rest_tls(self) -> str:
        return f"https://localhost:{self.settings.https_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.settings.http_port}"


def make_settings(var: Path, **changes: Any) -> tuple[GatewaySettings, Certificates]:
    """Returns settings with free ports; the last free one is the upstream's."""
    http_port, https_port, grpc_port = free_ports(3)
    certificates = ensure_certificates(var / "tls")
    settings: dict[str, Any] = {
        "var": var,
        "http_port": http_port,
        "https_port": https_port,
        "upstreams": [f"127.0.0.1:{grpc_port}"],
        "certificate": certificates.certificate,
        "private_key": certificates.private_key,
        "max_body_bytes": MAX_BODY_BYTES,
    }
    return GatewaySettings(**settings | changes), certificates


@contextlib.asynccontextmanager
async def running(
    var: Path, upstream: Upstream | None = None, **changes: Any
) -> AsyncIterator[GatewayHarness]:
    """Runs an upstream, unless there is one, and an Envoy with these settings, on free ports."""
    settings, certificates = make_settings(var, **changes)
    async with contextlib.AsyncExitStack() as stack:
        if upstream is None:
            upstream = Upstream(Path(__file__).parents[2] / settings.descriptors)
            await upstream.start(settings.upstreams[0])
            stack.push_async_callback(upstream.stop)
        gateway = Gateway(settings)
        await gateway.start()
        stack.push_async_callback(gateway.stop, within_s=1)
        yield GatewayHarness(gateway, settings, certificates, upstream)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayHarness]:
    async with running(tmp_path_factory.mktemp("gateway")) as harness:
        yield harness


@pytest.fixture
def harness(shared_harness: GatewayHarness) -> GatewayHarness:
    """The shared Envoy, with an upstream that has no answers written and no calls seen."""
    shared_harness.upstream.forget()
    return shared_harness


@pytest_asyncio.fixture(params=["h1", "h2"], loop_scope="session")
async def rest(
    harness: GatewayHarness, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client, once for each version of HTTP."""
    h2 = request.param == "h2"
    async with httpx.AsyncClient(
        base_url=harness.rest, headers=TOKEN, timeout=10, http1=not h2, http2=h2
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def native(harness: GatewayHarness) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC client on the same port."""
    async with grpc.aio.insecure_channel(harness.grpc) as channel:
        yield channel
