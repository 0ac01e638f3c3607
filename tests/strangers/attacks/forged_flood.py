"""Tokens that nobody issued, of both kinds, over more connections than one client would have."""

import itertools
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.attacks.hanging_issuer import unsigned_token
from tests.strangers.calling import hold_calls

_NUMBERS = itertools.count()


async def _get(channel: grpc.aio.Channel) -> None:
    number = next(_NUMBERS)
    token = unsigned_token() if number % 2 else f"forged-{number}"
    method: Any = channel.unary_unary("/yandex.cloud.operation.OperationService/Get")
    await method(b"", metadata=(("authorization", f"Bearer {token}"),))


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _get, connections=45, pause_s=0)


ATTACK = Attack("forged and unsigned tokens", "calls at a time", 4_500, 450, _hold)
