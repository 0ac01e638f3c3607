"""Requests that begin and never end, from one address that is not the others'."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_ADDRESS = "127.0.0.2"
_AT_ONCE = 100
_AGAIN_S = 0.2


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    async def one(number: int) -> None:
        # Half of the header of a request, or of a request's body.
        begun = b"POST /iam/v1/tokens HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
        begun += b"" if number % 2 else b"\r\n{"
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    *target.http, local_addr=(_ADDRESS, 0)
                )
                with contextlib.closing(writer):
                    writer.write(begun)
                    await reader.read()
            await asyncio.sleep(_AGAIN_S)

    tasks: list[asyncio.Task[None]] = []
    for start in range(0, count, _AT_ONCE):
        some = range(start, min(count, start + _AT_ONCE))
        tasks += [asyncio.create_task(one(number)) for number in some]
        progress(len(some))
        await asyncio.sleep(_AT_ONCE / 2_000)
    async with meanwhile(tasks):
        yield


ATTACK = Attack(
    "requests without end",
    "connections",
    10_050,
    500,
    _hold,
    newcomers_within_s=25.0,
)
