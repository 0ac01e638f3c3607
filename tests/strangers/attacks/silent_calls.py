"""Native calls that send no message: to reflection, and to methods with and without credentials."""

import itertools
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls

_METHODS = itertools.cycle(
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/yandex.cloud.endpoint.ApiEndpointService/List",
        "/yandex.cloud.billing.v1.CustomerService/Invite",
        "/grpc.health.v1.Health/Check",
    )
)


async def _begin(channel: grpc.aio.Channel) -> None:
    method: Any = channel.stream_stream(next(_METHODS))
    call = method(metadata=(("authorization", "Bearer nobody-knows-this"),))
    await call.read()


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    return hold_calls(target, count, progress, _begin)


ATTACK = Attack("calls without a message", "calls", 10_000, 10_000, _hold)
