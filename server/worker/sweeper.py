"""The sweeper: records that invitations have expired. They read as expired without it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from server.storage.interface import Storage
from server.worker.traces import log_failure

_log = logging.getLogger(__name__)

# A transaction of so many rows holds nobody else up.
_AT_ONCE = 100


class Sweeper:
    """Expires what has lapsed, until it is stopped. Any number of sweepers may share a storage."""

    def __init__(
        self,
        storage: Storage,
        now: Callable[[], datetime],
        every: timedelta,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._storage = storage
        self._now = now
        self._every_s = every.total_seconds()
        self._at_once = at_once
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop` is called; survives whatever the storage does."""
        while not self._stopping.is_set():
            try:
                expired = await self._storage.expire_invitations(self._now(), self._at_once)
            except Exception as error:
                log_failure(_log, "expiring invitations failed", error)
                expired = 0
            if expired:
                _log.info("%d invitations have expired", expired)
            if expired < self._at_once:
                await self._pause()

    def stop(self) -> None:
        """Ends `run` after what is under way."""
        self._stopping.set()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every_s):
                await self._stopping.wait()
        except TimeoutError:
            return
