"""Streams that strangers hold open, at Health/Watch."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


async def _watch(channel: grpc.aio.Channel) -> None:
    watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
    async for _ in watch(b""):
        pass


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _watch)


ATTACK = Attack("watches without credentials", "streams", 10_000, 10_000, _hold)
