"""The port for metrics and health takes little, whoever reaches it."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest

from server.monitoring import endpoint as module
from server.monitoring.endpoint import (
    MOST_CONNECTIONS,
    MOST_HEADER_BYTES,
    Answer,
    Endpoint,
    NoPortError,
    text,
)
from tests.service import free_ports


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def page() -> Answer:
        return text(HTTPStatus.OK, "a page")

    async def broken() -> Answer:
        raise ValueError("ostap@example.com")

    served = Endpoint({"/page": page, "/broken": broken})
    yield await served.start("127.0.0.1", free_ports(1)[0])
    await served.stop()


async def asked(port: int, request: bytes) -> bytes:
    """Returns all that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /page HTTP/1.1", b"200 OK"),
        (b"GET /page?x=1 HTTP/1.0", b"200 OK"),
        (b"GET /elsewhere HTTP/1.1", b"404 Not Found"),
        (b"POST /page HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET /broken HTTP/1.1", b"500 Internal Server Error"),
        (b"nonsense", b"404 Not Found"),
        (b"\xff\xfe\x00", b"404 Not Found"),
    ],
)
async def test_a_request_has_its_status(port: int, request_line: bytes, status: bytes) -> None:
    answered = await asked(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"example.com" not in answered


async def test_head_has_no_body(port: int) -> None:
    answered = await asked(port, b"HEAD /page HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 7\r\n" in answered
    assert answered.endswith(b"\r\n\r\n")


async def test_long_headers_end_the_connection(port: int) -> None:
    assert await asked(port, b"GET /page HTTP/1.1\r\nx: " + b"x" * 2 * MOST_HEADER_BYTES) == b""


async def test_who_sends_nothing_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_WITHIN_S", 0.05)
    async with asyncio.timeout(30):
        assert await asked(port, b"GET /page HT") == b""


async def test_who_holds_connections_open_keeps_nobody_out(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * MOST_CONNECTIONS)]
    assert b"200 OK" in await asked(port, b"GET /page HTTP/1.1\r\n\r\n")
    assert await held[0][0].read() == b""  # the oldest has made room
    for _, writer in held:
        writer.close()


async def test_two_processes_have_a_port_each() -> None:
    (wanted,) = free_ports(1)
    one, other = Endpoint({}), Endpoint({})
    assert await one.start("127.0.0.1", wanted) == wanted
    assert await other.start("127.0.0.1", wanted) > wanted
    await one.stop()
    await other.stop()


async def test_an_address_that_is_not_here_is_refused() -> None:
    with pytest.raises(NoPortError, match="BILLING_METRICS_ADDRESS"):
        await Endpoint({}).start("192.0.2.1", 65535)
