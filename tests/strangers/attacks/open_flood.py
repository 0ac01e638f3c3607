"""Calls that need no credentials, over more connections than one client would have."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


async def _list(channel: grpc.aio.Channel) -> None:
    method: Any = channel.unary_unary("/yandex.cloud.endpoint.ApiEndpointService/List")
    await method(b"")


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _list, connections=45, pause_s=0)


ATTACK = Attack("calls without credentials", "calls at a time", 4_500, 450, _hold)
