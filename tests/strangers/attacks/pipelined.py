"""Requests one behind the other, without waiting for answers (HTTP/1.1), of bodies or headers without end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_BODY = b"{%s}" % (b" " * 14_998)
_REQUESTS = (
    b"POST /v1/bounces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY),
    b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nx: %s\r\n\r\n" % (b"y" * 30_000),
)
_AT_ONCE = 4
_AGAIN_S = 0.2


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    async def one(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*target.http)
                with contextlib.closing(writer):
                    await asyncio.gather(_send(writer, _REQUESTS[number % 2]), _read(reader))
            await asyncio.sleep(_AGAIN_S)

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    progress(count)
    async with meanwhile(tasks):
        yield


async def _send(writer: asyncio.StreamWriter, request: bytes) -> None:
    while True:
        writer.write(request * _AT_ONCE)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
    raise ConnectionResetError


ATTACK = Attack("requests one behind the other", "connections", 60, 50, _hold)
