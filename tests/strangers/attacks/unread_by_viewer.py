"""One viewer calls on many streams, and its answers are never read."""

import contextlib
from collections.abc import AsyncIterator

import httpx

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.unread import hold_unread

# So many that each of the gateway's threads has one.
_CONNECTIONS = 20


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    asked = {
        ":path": f"/billing/v1/customers?resellerId={target.reseller_id}&pageSize=20",
        "authorization": f"Bearer {target.token}",
        "accept-encoding": "gzip",
    }
    # A token that is known has more than others.
    for _ in range(_CONNECTIONS):
        async with httpx.AsyncClient(base_url=target.rest) as client:
            answer = await client.get(
                asked[":path"], headers={"authorization": asked["authorization"]}
            )
            assert answer.status_code == 200, answer.text
    async with hold_unread(target, count, progress, asked):
        yield


ATTACK = Attack("answers that one viewer does not read", "streams", 6_000, 1_000, _hold, rows=20)
