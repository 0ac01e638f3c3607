"""What is fetched from Amazon: from there alone, in bounded time and length."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.bounces import fetch as module
from server.bounces.fetch import fetch


async def _answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/whole":
            return web.Response(body=b"certificate")
        case "/huge":
            return web.Response(body=b"x" * 100_000)
        case "/elsewhere":
            raise web.HTTPFound("/whole")
        case "/late":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"certif")
            await asyncio.Event().wait()
    raise web.HTTPNotFound


@pytest_asyncio.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_get("/{path}", _answer)
    server = TestServer(app)
    async with server:
        yield server


async def test_what_is_there_is_read_up_to_a_length(server: TestServer) -> None:
    assert await fetch(str(server.make_url("/whole"))) == b"certificate"
    assert 0 < len(await fetch(str(server.make_url("/huge")))) <= module._MOST_BYTES


@pytest.mark.parametrize("path", ["elsewhere", "gone", "late"])
async def test_what_can_not_be_had_whole_is_an_error(
    server: TestServer, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Redirections lead to whom nobody has looked at; who answers slowly holds up nobody."""
    if path == "late":
        monkeypatch.setattr(module, "_WITHIN_S", 0.05)
    async with asyncio.timeout(30):
        with pytest.raises(OSError, match=r"TimeoutError|status"):
            await fetch(str(server.make_url(f"/{path}")))


async def test_where_nobody_answers_is_an_error(server: TestServer) -> None:
    url = str(server.make_url("/whole"))
    await server.close()
    with pytest.raises(OSError, match="ClientConnector"):
        await fetch(url)
