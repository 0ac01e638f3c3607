"""Waiting until work is due."""

import asyncio
from datetime import datetime, timedelta

from server.storage.notify.notifier import LOOK_EVERY, wait
from server.storage.sql.batches import Batcher
from server.storage.sql.times import Micros, from_micros
from server.storage.sql.transactions import BatchHandler


async def wait_until_due(
    reads: Batcher,
    next_due: BatchHandler[None, Micros | None],
    changed: asyncio.Event,
    now: datetime,
    longest: timedelta,
) -> None:
    """Returns when work is due by what `next_due` reads, or after the longest time.

    `changed` is set where that may have changed; looks by itself once a second too.
    """
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    while True:
        changed.clear()
        due_at = await reads.submit(next_due, None)
        passed = timedelta(seconds=loop.time() - started_at)
        left = longest - passed
        if due_at is not None:
            left = min(left, from_micros(due_at) - (now + passed))
        if left <= timedelta():
            return
        await wait(changed, min(left, LOOK_EVERY).total_seconds())
