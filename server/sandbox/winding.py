"""Winding the clock, with all that follows from it."""

import asyncio
import math
from datetime import datetime, timedelta

from server.sandbox.clock import SandboxClock
from server.sandbox.recipients import Recipients
from server.storage.interface import Storage
from server.worker.handlers.sweeps import Sweeper
from server.worker.worker import Worker

_FEWEST_STEPS = 8
_LONGEST_STEP = timedelta(days=1)


class Winding:
    """Winds the clock of one process, which does all work of its database, and empties resellers."""

    def __init__(
        self,
        clock: SandboxClock,
        storage: Storage,
        sweeper: Sweeper,
        worker: Worker,
        recipients: Recipients,
    ) -> None:
        self._recipients = recipients
        self._clock = clock
        self._storage = storage
        self._sweeper = sweeper
        self._worker = worker
        self._one_at_a_time = asyncio.Lock()

    async def advance(self, by: timedelta) -> datetime:
        """Returns the new time once all is done that was due until then, in its order.

        Raises BillingError where the storage can't answer, OverflowError where the calendar ends.
        """
        # A caller that has gone leaves no time behind in which nothing was done.
        return await asyncio.shield(asyncio.create_task(self._advance(by)))

    async def _advance(self, by: timedelta) -> datetime:
        async with self._one_at_a_time:
            # What is under way ends by the time at which it began.
            await self._settle()
            steps = max(_FEWEST_STEPS, math.ceil(by / _LONGEST_STEP))
            done = timedelta()
            for step in range(1, steps + 1):
                until = by * step / steps
                self._clock.wind(until - done)
                done = until
                await self._sweeper.sweep()
                await self._settle()
            return self._clock()

    async def empty(self, reseller_id: str) -> None:
        """Removes all that a reseller has, once nothing of it is under way."""
        async with self._one_at_a_time:
            await self._settle()
            await self._storage.emptying.empty_reseller(reseller_id)

    async def _settle(self) -> None:
        """Has all done that is due, and all that this makes due."""
        while True:
            self._storage.deliveries.look_again()
            await self._worker.settle()
            if not await self._recipients.settle():
                return
