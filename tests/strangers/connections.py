"""Connections by HTTP/1.1 in great numbers, each made again as soon as it has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.strangers.attack import Progress, Target
from tests.tasks import meanwhile

# Uses a connection until it ends; the number is the connection's own.
Use = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[object]]

_AGAIN_S = 0.2


@contextlib.asynccontextmanager
async def hold_connections(
    target: Target, count: int, progress: Progress, use: Use
) -> AsyncIterator[None]:
    """Has so many connections in use."""
    tasks = [asyncio.create_task(_again(target, use, number)) for number in range(count)]
    progress(count)
    async with meanwhile(tasks):
        yield


async def _again(target: Target, use: Use, number: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*target.http)
            with contextlib.closing(writer):
                await use(reader, writer, number)
        await asyncio.sleep(_AGAIN_S)
