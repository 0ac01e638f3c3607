"""Receivers of webhooks for tests: well-behaved ones, and ones that speak byte by byte."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def receiving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Runs a receiver; gives its URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/hook"
    finally:
        await runner.cleanup()


class Bytes(NamedTuple):
    """An answer that begins with `first` and then says `again` for ever."""

    first: bytes
    again: bytes
    pause_s: float


@asynccontextmanager
async def raw_receiver(
    answer: bytes | Bytes, asked: list[bytes] | None = None
) -> AsyncIterator[str]:
    """Runs a receiver that answers with these bytes, whatever it is sent, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.read(65536)
            if asked is not None:
                asked.append(request)
            first, again, pause_s = (answer, b"", 0.0) if isinstance(answer, bytes) else answer
            writer.write(first)
            await writer.drain()
            while again:
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(pause_s)
            writer.close()
        except OSError:
            pass
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def names_of(answers: dict[str, list[list[str]]]) -> Callable[[], AbstractResolver]:
    """Returns a name service: for each name its answers, one after the other."""

    class Names(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            if not answers.get(host):
                raise OSError(None, "Domain name not found")
            return [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in answers[host].pop(0)
            ]

        async def close(self) -> None:
            pass

    return Names


@contextmanager
def refusing_connections() -> Iterator[list[tuple[Any, ...]]]:
    """Has all connections of this event loop refused; gives the places that they were made to."""
    connected: list[tuple[Any, ...]] = []
    loop = asyncio.get_running_loop()

    async def refuse(_: object, place: tuple[Any, ...]) -> None:
        connected.append(place)
        raise ConnectionRefusedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "sock_connect", refuse)
        yield connected
