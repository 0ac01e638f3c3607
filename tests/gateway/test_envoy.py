"""Envoy's life: started, found ready, stopped without losing a call, or dying."""

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import psutil
import pytest

from gateway.certificates import ensure_certificates
from gateway.envoy import Gateway
from gateway.overload import PROGRAM_MIB
from gateway.ports import GatewayError
from tests.gateway.conftest import GatewayHarness, make_settings, running
from tests.gateway.test_answers import GET, INVITE
from tests.gateway.test_native import unary
from tests.gateway.upstream import Context, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")


def pid(harness: GatewayHarness) -> int:
    assert harness.gateway._process
    return harness.gateway._process.pid


@pytest.mark.parametrize("port", ["http_port", "https_port"])
async def test_a_taken_port_is_named(tmp_path: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        settings, _ = make_settings(tmp_path, **{port: number})
        with pytest.raises(GatewayError, match=f"^port {number} .* can't be used: [^\n]+$"):
            await Gateway(settings).start()


async def test_a_port_of_another_envoy(harness: GatewayHarness, tmp_path: Path) -> None:
    settings, _ = make_settings(tmp_path, http_port=harness.settings.http_port)
    with pytest.raises(GatewayError, match="already in use"):
        await Gateway(settings).start()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_no_plain_http_beyond_loopback(tmp_path: Path, address: str) -> None:
    settings, _ = make_settings(tmp_path, http_address=address)
    with pytest.raises(GatewayError, match=f"^refusing to serve without TLS on {address}"):
        await Gateway(settings).start()


async def test_tls_is_served_beyond_loopback(tmp_path: Path) -> None:
    async with running(tmp_path, address="0.0.0.0") as harness:
        with socket.create_connection(("127.0.0.1", harness.settings.https_port)) as connection:
            assert connection.getpeername()


async def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    settings, _ = make_settings(tmp_path, certificate=tmp_path / "none.pem")
    with pytest.raises(GatewayError, match=r"^.*none\.pem and .* can't be used: [^\n]+$"):
        await Gateway(settings).start()


async def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    other = ensure_certificates(tmp_path / "other")
    settings, _ = make_settings(tmp_path, private_key=other.private_key)
    with pytest.raises(GatewayError, match=r"can't be used: [^\n]*mismatch[^\n]*$"):
        await Gateway(settings).start()


async def test_an_error_that_only_envoy_finds_is_one_line(tmp_path: Path) -> None:
    """An error that only Envoy can find comes as one line too."""
    settings, _ = make_settings(tmp_path, timeout_s=1e12)
    with pytest.raises(GatewayError, match=r"^Envoy did not start: [^\n]+$"):
        await Gateway(settings).start()


@pytest.mark.parametrize("largest", [False, True])
async def test_all_that_can_be_set_is_taken_by_envoy(tmp_path: Path, largest: bool) -> None:
    values: dict[str, tuple[float, float]] = {
        "max_body_bytes": (1 << 10, 64 << 20),
        "max_headers_kib": (4, 256),
        "memory_mib": (96, 1 << 20),
        "max_connections": (1, 10**9),
        "timeout_s": (0.001, 3600),
    }
    settings: dict[str, Any] = {name: each[largest] for name, each in values.items()}
    async with running(tmp_path, **settings) as harness:
        assert await harness.gateway.problem() == ""


async def test_a_program_that_may_not_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "envoy").write_text("#!/no/such/interpreter\n")
    (programs / "envoy").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    settings, _ = make_settings(tmp_path)
    with pytest.raises(GatewayError, match=f"^can't start {programs}/envoy: No such file"):
        await Gateway(settings).start()


async def test_an_envoy_that_dies_is_told_and_can_be_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        dying = asyncio.create_task(harness.gateway.died())
        os.kill(pid(harness), signal.SIGKILL)
        async with asyncio.timeout(10):
            assert (await dying).startswith("Envoy ended with signal 9; see ")
        await harness.gateway.start()
        async with httpx.AsyncClient(base_url=harness.rest) as rest:
            assert (await rest.get("/operations/a")).status_code == 200


async def test_stopping_is_not_reported_as_dying(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        dying = asyncio.create_task(harness.gateway.died())
        await harness.gateway.stop(within_s=1)
        await asyncio.wait([dying], timeout=0.1)
        assert not dying.done()
        dying.cancel()


async def test_stop_waits_for_calls(tmp_path: Path) -> None:
    """Calls that arrived before the stop are answered; so are those on connections still open."""
    async with (
        running(tmp_path, timeout_s=60) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=60) as rest,
        grpc.aio.insecure_channel(harness.grpc) as native,
    ):
        begun = asyncio.Semaphore(0)
        go_on = asyncio.Event()

        async def slow(_request: Any, _context: Context) -> None:
            begun.release()
            await go_on.wait()

        harness.upstream.answers = {GET: slow, INVITE: slow}
        calls = asyncio.gather(
            rest.get("/operations/a"),
            rest.post("/billing/v1/customers:invite", json={}),
            unary(native, GET)(b""),
        )
        for _ in range(3):
            await begun.acquire()
        stopping = asyncio.create_task(harness.gateway.stop(within_s=60))
        await asyncio.wait([stopping], timeout=0.3)
        assert not stopping.done()
        go_on.set()
        got, invited, message = await calls
        assert (got.status_code, invited.status_code, message) == (200, 200, b"")
        assert got.headers["connection"] == "close"
        async with asyncio.timeout(30):
            await stopping
        with pytest.raises(httpx.ConnectError):
            await rest.get("/operations/a")


async def test_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with (
        running(tmp_path, timeout_s=30) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=30) as rest,
    ):
        begun = asyncio.Event()

        async def hang(_request: Any, _context: Context) -> None:
            begun.set()
            await asyncio.Event().wait()

        harness.upstream.answers[GET] = hang
        call = asyncio.create_task(rest.get("/operations/a"))
        await begun.wait()
        async with asyncio.timeout(10):
            await harness.gateway.stop(within_s=0.2)
        with pytest.raises(httpx.TransportError):
            await call


async def test_only_servers_that_serve_get_calls(tmp_path: Path) -> None:
    """One that says it is not serving, or is gone, gets no calls; none of the callers notices."""
    descriptors = Path(__file__).parents[2] / "gen" / "descriptors.pb"
    upstreams = [Upstream(descriptors) for _ in range(2)]
    addresses = [f"unix:{tmp_path}/server-{number}.sock" for number in range(2)]
    for upstream, address in zip(upstreams, addresses, strict=True):
        await upstream.start(address)
    try:
        async with (
            running(tmp_path, upstreams[0], upstreams=addresses) as harness,
            httpx.AsyncClient(base_url=harness.rest) as rest,
        ):

            async def calls_seen(count: int) -> list[int]:
                for upstream in upstreams:
                    upstream.calls.clear()
                for _ in range(count):
                    assert (await rest.get("/operations/a")).status_code == 200
                return [len(upstream.calls) for upstream in upstreams]

            async with asyncio.timeout(10):
                # One answers calls before the other's first look at its health is over.
                while not all(await calls_seen(40)):
                    pass
            await upstreams[0].set_serving(False)
            async with asyncio.timeout(10):
                # So many that chance does not spare it.
                while (await calls_seen(40))[0]:
                    pass
            await upstreams[0].set_serving(True)
            async with asyncio.timeout(10):
                while not all(await calls_seen(40)):
                    pass
            await upstreams[1].stop()
            assert await calls_seen(40) == [40, 0]
    finally:
        for upstream in upstreams:
            await upstream.stop()


async def test_logs_hold_no_secrets(tmp_path: Path) -> None:
    async with running(tmp_path) as harness, httpx.AsyncClient(base_url=harness.rest) as rest:
        await rest.get(
            "/operations/secret-1?colour=secret-2", headers={"authorization": "Bearer secret-3"}
        )
        await rest.post("/billing/v1/customers:invite", json={"name": "secret-4", "secret-5": 1})
        await rest.get("/secret-6")
    logs = "".join(file.read_text() for file in (tmp_path / "logs").iterdir())
    assert '"route":"GET /operations/{operation_id}"' in logs
    assert "secret" not in logs
    assert "127.0.0.1" not in logs.replace('"upstream":"127.0.0.1', "")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def too_wide(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if mode(path) & 0o077]


async def test_only_its_owner_reaches_the_admin_interface(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with running(tmp_path) as harness:
            assert mode(harness.settings.admin_socket) == 0o600
            assert too_wide(tmp_path) == []
            admin = httpx.AsyncHTTPTransport(uds=str(harness.settings.admin_socket))
            async with httpx.AsyncClient(transport=admin, base_url="http://localhost") as client:
                assert "downstream_rq" in (await client.get("/stats")).text
                # By which the limits on memory count; they must be far from what it takes at rest.
                allocated = (await client.get("/memory")).json()["allocated"]
                assert int(allocated) < 0.9 * (PROGRAM_MIB << 20)
            listening = {
                connection.laddr.port
                for connection in psutil.Process(pid(harness)).net_connections()
                if connection.status == psutil.CONN_LISTEN
            }
            assert listening == {harness.settings.http_port, harness.settings.https_port}
    finally:
        os.umask(before)


async def test_a_folder_whose_path_is_too_long_for_sockets(tmp_path: Path) -> None:
    var = tmp_path / ("x" * 100)
    async with running(var) as harness, httpx.AsyncClient(base_url=harness.rest) as rest:
        assert (await rest.get("/operations/a")).status_code == 200
        assert mode(var / "envoy" / "admin.sock") == 0o600
        os.kill(pid(harness), signal.SIGKILL)
        await harness.gateway.died()
        await harness.gateway.start()
        assert (await rest.get("/operations/a")).status_code == 200


async def test_two_gateways_in_one_folder_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as harness, httpx.AsyncClient(base_url=harness.rest) as rest:
        config = (tmp_path / "envoy" / "envoy.json").read_bytes()
        settings, _ = make_settings(tmp_path)
        with pytest.raises(GatewayError, match=f"in use by another gateway, process {os.getpid()}"):
            await Gateway(settings).start()
        assert (tmp_path / "envoy" / "envoy.json").read_bytes() == config
        assert (await rest.get("/operations/a")).status_code == 200
    async with running(tmp_path):
        pass


async def test_the_admin_interface_is_not_served(rest: httpx.AsyncClient) -> None:
    for path in ("/stats", "/ready", "/quitquitquit", "/config_dump"):
        assert (await rest.get(path)).status_code == 404


async def test_a_collector_that_is_away_is_not_told_with_each_try(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with (
            running(tmp_path, traces_url=url) as harness,
            httpx.AsyncClient(base_url=harness.rest) as rest,
            asyncio.timeout(30),
        ):
            failed = b"cluster.traces.upstream_cx_connect_fail: "
            while failed + b"0" in (await harness.gateway._admin._call("GET", "/stats"))[1]:
                await rest.get("/operations/a")
    assert "OTLP" not in (harness.settings.var / "logs" / "envoy.log").read_text()
