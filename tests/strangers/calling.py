"""Native calls in great numbers, each made again as soon as it has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc

from tests.strangers.attack import Progress, Target
from tests.tasks import meanwhile

Call = Callable[[grpc.aio.Channel], Awaitable[object]]


@contextlib.asynccontextmanager
async def hold_calls(
    target: Target,
    count: int,
    progress: Progress,
    call: Call,
    *,
    connections: int = 10,
    pause_s: float = 0.5,
) -> AsyncIterator[None]:
    """Has so many calls under way through the gateway; `pause_s` is from the end of one to the next."""
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for _ in range(connections):
            channel = grpc.aio.insecure_channel(
                target.gateway, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            await stack.enter_async_context(channel)
            tasks += [
                asyncio.create_task(_again(channel, call, pause_s))
                for _ in range(count // connections)
            ]
            progress(count // connections)
        await asyncio.sleep(1)
        async with meanwhile(tasks):
            yield


async def _again(channel: grpc.aio.Channel, call: Call, pause_s: float) -> None:
    while True:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(channel)
        await asyncio.sleep(pause_s)
