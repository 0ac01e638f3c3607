"""Connections that say nothing: half of them at all, half once TLS is agreed on."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from tests.strangers.attack import Attack, Progress, Target

_AT_ONCE = 100


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    context = ssl.create_default_context(cafile=target.ca)
    writers: list[asyncio.StreamWriter] = []

    async def connect(number: int) -> None:
        with contextlib.suppress(OSError):
            if number % 2:
                opened = asyncio.open_connection(*target.http)
            else:
                opened = asyncio.open_connection(*target.https, ssl=context)
            writers.append((await opened)[1])

    for start in range(0, count, _AT_ONCE):
        some = range(start, min(count, start + _AT_ONCE))
        await asyncio.gather(*(connect(number) for number in some))
        progress(len(some))
    try:
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


ATTACK = Attack("idle connections", "connections", 10_050, 1_000, _hold)
