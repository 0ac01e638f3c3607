"""One Envoy and one upstream for all tests of this folder; a test that breaks them makes its own."""

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.certificates import Certificates, ensure_certificates
from gateway.envoy import Gateway, GatewaySettings
from tests.gateway.upstream import Upstream


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True)
class House:
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


@contextlib.asynccontextmanager
async def running(var: Path, **changes: Any) -> AsyncIterator[House]:
    """Runs an upstream and an Envoy with these settings, on free ports."""
    http_port, https_port, admin_port, grpc_port = free_ports(4)
    certificates = ensure_certificates(var / "tls")
    settings = GatewaySettings(
        **{
            "var": var,
            "http_port": http_port,
            "https_port": https_port,
            "admin_port": admin_port,
            "upstreams": [f"127.0.0.1:{grpc_port}"],
            "certificate": certificates.certificate,
            "private_key": certificates.private_key,
            **changes,
        }
    )
    upstream = Upstream()
    await upstream.start(settings.upstreams[0])
    gateway = Gateway(settings)
    try:
        await gateway.start()
        yield House(gateway, settings, certificates, upstream)
    finally:
        await gateway.stop(within_s=1)
        await upstream.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running(
        tmp_path_factory.mktemp("gateway"), timeout_s=2.0, max_body_bytes=64 << 10
    ) as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> House:
    """The shared Envoy, with an upstream that has no answers written and no calls seen."""
    shared_house.upstream.answers.clear()
    shared_house.upstream.calls.clear()
    return shared_house


@pytest_asyncio.fixture(loop_scope="session")
async def rest(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=house.rest, timeout=10) as client:
        yield client
