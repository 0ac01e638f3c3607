"""One viewer reads on many streams, and reads none of the answers."""

from contextlib import AbstractAsyncContextManager

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.unread import hold_unread


def _hold(target: Target, count: int, progress: Progress) -> AbstractAsyncContextManager[None]:
    path = f"/billing/v1/customers?resellerId={target.reseller_id}&pageSize=1"
    headers = {":path": path, "authorization": f"Bearer {target.token}"}
    return hold_unread(target, count, progress, headers)


ATTACK = Attack("one viewer leaves answers unread", "streams", 6_000, 1_000, _hold)
