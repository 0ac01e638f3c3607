"""Tokens that nobody issued, each another one, as fast as they are refused."""

import itertools
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls

_NUMBERS = itertools.count()


async def _get(channel: grpc.aio.Channel) -> None:
    method: Any = channel.unary_unary("/yandex.cloud.operation.OperationService/Get")
    await method(b"", metadata=(("authorization", f"Bearer forged-{next(_NUMBERS)}"),))


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _get, pause_s=0)


ATTACK = Attack("forged tokens", "calls at a time", 500, 100, _hold)
