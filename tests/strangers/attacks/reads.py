"""One viewer reads as fast as it can."""

from contextlib import AbstractAsyncContextManager

import grpc
from yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


def hold_reads(
    target: Target, count: int, progress: Progress, connections: int = 10
) -> AbstractAsyncContextManager[None]:
    """Has so many reads under way, over these connections."""
    asked = operation_service_pb2.GetOperationRequest(operation_id="bop00000000000000000")

    async def get(channel: grpc.aio.Channel) -> None:
        stub = operation_service_pb2_grpc.OperationServiceStub(channel)
        await stub.Get(asked, metadata=(("authorization", f"Bearer {target.token}"),))

    return hold_calls(target, count, progress, get, connections=connections, pause_s=0)


ATTACK = Attack("one viewer's reads", "calls at a time", 500, 100, hold_reads)
