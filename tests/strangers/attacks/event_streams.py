"""One viewer opens streams of events, whose filter nothing fits, from the log's beginning on."""

from contextlib import AbstractAsyncContextManager

import grpc
from billing.v1 import event_service_pb2, event_service_pb2_grpc

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    asked = event_service_pb2.WatchEventsRequest(
        parent=f"resellers/{target.reseller_id}", filter='actor.subject = "nobody"'
    )

    async def watch(channel: grpc.aio.Channel) -> None:
        stub = event_service_pb2_grpc.EventServiceStub(channel)
        call = stub.WatchEvents(asked, metadata=(("authorization", f"Bearer {target.token}"),))
        async for _ in call:
            pass

    return hold_calls(target, count, progress, watch, connections=100)


# What docs/operators/capacity.md says: 50 KB for each stream that has room, and 17 KB for each of a burst.
_MOST_GATEWAY_MIB = 200

ATTACK = Attack(
    *("one viewer's streams of events", "streams", 10_000, 2_000, _hold),
    most_gateway_mib=_MOST_GATEWAY_MIB,
)
