"""Bad receivers, added by REST: each try is listed with what was wrong, and others are served."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest_asyncio
import trustme
from aiohttp import web

from tests.service import Service
from tests.worker.webhooks.receivers import raw_receiver, receiving

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n"


async def _take(_: web.Request) -> web.Response:
    return web.Response()


async def _redirect(request: web.Request) -> web.Response:
    assert request.path == "/hook"
    return web.Response(status=307, headers={"location": "/elsewhere"})


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{service.rest}/v1/"
    async with httpx.AsyncClient(base_url=base, headers=service.headers, timeout=15) as client:
        yield client


async def _first_attempt(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    for _ in range(1000):
        answer = await client.get(f"{name}/attempts")
        attempts: list[dict[str, Any]] = answer.json().get("attempts", [])
        if attempts:
            return attempts[-1]
    raise AssertionError("nothing was tried")


async def test_each_bad_receiver_is_told_apart(service: Service, client: httpx.AsyncClient) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with AsyncExitStack() as receivers:
        enter = receivers.enter_async_context
        wanted = {
            await enter(receiving(_take)): (200, ""),
            await enter(receiving(_redirect)): (307, ""),
            await enter(receiving(_take, tls)): (
                None,
                "the certificate is not valid for the host",
            ),
            await enter(raw_receiver(b"")): (None, "the connection was closed without an answer"),
            await enter(raw_receiver(_HEAD + b"x" * (1 << 20))): (200, ""),
            await enter(raw_receiver(b"220 mail.example ESMTP\r\n")): (
                None,
                "the answer is not HTTP, or has too many headers",
            ),
            "http://127.0.0.1:1/": (None, "the connection was refused"),
            "https://127.0.0.1:1/": (None, "the connection was refused"),
            "https://billing.invalid/": (None, "the host's name was not found"),
        }
        made: dict[str, str] = {}
        for url in wanted:
            answer = await client.post(
                f"resellers/{service.resellerId}/webhooks", json={"url": url}
            )
            assert answer.status_code == 200, answer.text
            made[url] = answer.json()["name"]
        found = {}
        for url, name in made.items():
            attempt = await _first_attempt(client, name)
            found[url] = attempt.get("status") or None, attempt.get("error", "")
            await client.delete(name)
    assert found == wanted
