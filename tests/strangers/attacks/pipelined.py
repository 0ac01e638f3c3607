"""Requests one behind the other, without waiting for answers (HTTP/1.1), of bodies or headers without end."""

import asyncio
from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.connections import hold_connections

_BODY = b"{%s}" % (b" " * 14_998)
_REQUESTS = (
    b"POST /v1/bounces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY),
    b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nx: %s\r\n\r\n" % (b"y" * 30_000),
)
_AT_ONCE = 4


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_connections(target, count, progress, _use)


async def _use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    await asyncio.gather(_send(writer, _REQUESTS[number % 2]), _read(reader))


async def _send(writer: asyncio.StreamWriter, request: bytes) -> None:
    while True:
        writer.write(request * _AT_ONCE)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
    raise ConnectionResetError


ATTACK = Attack("requests one behind the other", "connections", 60, 50, _hold)
