"""The owner of another reseller gives a thousand roles at a time, and takes them again."""

import itertools
from contextlib import AbstractAsyncContextManager

import grpc
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2_grpc

from tests.strangers.accounts import OWNED
from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls

_MOST = 990


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    numbers = itertools.count()

    async def change(channel: grpc.aio.Channel) -> None:
        stub = billing_account_service_pb2_grpc.BillingAccountServiceStub(channel)
        action = access_pb2.REMOVE if next(numbers) % 2 else access_pb2.ADD
        deltas = [
            access_pb2.AccessBindingDelta(
                action=action,
                access_binding=access_pb2.AccessBinding(
                    role_id="billing.accounts.viewer",
                    subject=access_pb2.Subject(id=f"auth0|{number}", type="userAccount"),
                ),
            )
            for number in range(_MOST)
        ]
        asked = access_pb2.UpdateAccessBindingsRequest(
            resource_id=OWNED, access_binding_deltas=deltas
        )
        metadata = (("authorization", f"Bearer {target.owner_token}"),)
        await stub.UpdateAccessBindings(asked, metadata=metadata)

    return hold_calls(target, count, progress, change, pause_s=0)


ATTACK = Attack("one owner's changes of roles", "calls at a time", 200, 20, _hold)
