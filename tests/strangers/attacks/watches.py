"""Streams that strangers hold open: ten connections, each with a hundredth of them at Health/Watch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target

_CONNECTIONS = 10
_WATCH = "/grpc.health.v1.Health/Watch"


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for _ in range(_CONNECTIONS):
            channel = grpc.aio.insecure_channel(
                target.gateway, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            await stack.enter_async_context(channel)
            tasks += [asyncio.create_task(_watch(channel)) for _ in range(count // _CONNECTIONS)]
            progress(count // _CONNECTIONS)
            await asyncio.sleep(0)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(channel: grpc.aio.Channel) -> None:
    """Watches again as soon as that has ended."""
    while True:
        watch: Any = channel.unary_stream(_WATCH)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in watch(b""):
                pass
        await asyncio.sleep(0.5)


ATTACK = Attack("watches without credentials", "streams", 10_000, 2_000, _hold)
