"""One viewer lists 1,000 customers again and again."""

from contextlib import AbstractAsyncContextManager

import grpc
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    asked = customer_service_pb2.ListCustomersRequest(
        reseller_id=target.reseller_id, page_size=1000
    )

    async def list_(channel: grpc.aio.Channel) -> None:
        stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        await stub.List(asked, metadata=(("authorization", f"Bearer {target.token}"),))

    return hold_calls(target, count, progress, list_, pause_s=0)


ATTACK = Attack("one viewer's long lists", "calls at a time", 500, 100, _hold, rows=1_000)
