"""The sweeper: records what has expired and clears what is old, a little at a time."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.storage.interface import RetentionStorage
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

_FEWEST, _MOST = 10, 500
# How long tries to deliver to webhooks are kept.
_ATTEMPTS = timedelta(days=30)

# Does at most so many rows and returns how many it did.
Step = Callable[[int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class SweeperSettings:
    """How the sweeper works.

    every: the time between sweeps, more or less by half so that processes don't sweep in step.
    retention: how long finished operations, and links to invitations that have ended, are kept;
        None: for ever.
    event_retention: how long events are.
    reminders: how many days before an invitation's end its invitee is reminded, where it says nothing.
    batch_within: what a batch, which shares the database's time with calls, should take.
    rest: how many times as long as the batch took it rests before the next one.
    """

    every: timedelta = timedelta(seconds=30)
    retention: timedelta | None = timedelta(days=30)
    event_retention: timedelta = timedelta(days=400)
    reminders: tuple[int, ...] = ()
    batch_within: timedelta = timedelta(milliseconds=10)
    rest: float = 4.0


class Sweeper:
    """Sweeps until it is stopped. Any number of sweepers may share a storage.

    What has lapsed reads as expired, and what is old counts as unknown, without it.
    """

    def __init__(
        self,
        storage: RetentionStorage,
        now: Callable[[], datetime],
        settings: SweeperSettings | None = None,
        jitter: Callable[[], float] = random.random,
        timer: Callable[[], float] = time.monotonic,
        credentials_now: Callable[[], datetime] | None = None,
    ) -> None:
        """`jitter` returns numbers from 0 to 1, which spread the sweeps; `timer` counts seconds.

        `credentials_now` is the time that tokens end by, `now` unless given.
        """
        self._credentials_now = credentials_now or now
        self._storage = storage
        self._now = now
        self._settings = settings or SweeperSettings()
        self._jitter = jitter
        self._timer = timer
        self._limit = _FEWEST
        self._failures = FailureLog(_log)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop` is called; survives whatever the storage does."""
        every_s = self._settings.every.total_seconds()
        while True:
            await self._pause(every_s * (0.5 + self._jitter()))
            if self._stopping.is_set():
                return
            try:
                await self.sweep()
            except Exception as error:
                self._failures.tell_error("the sweep is put off", error)

    def stop(self) -> None:
        """Ends `run` after what is under way."""
        self._stopping.set()

    async def sweep(self) -> None:
        """Does all that there is to do now, unless it is stopped meanwhile."""
        storage, now = self._storage, self._now()
        until = self._credentials_now()
        kept = self._settings.event_retention
        steps: list[tuple[str, Step]] = [
            ("invitations have expired", lambda most: storage.expire_invitations(now, most)),
            ("invitations end soon", lambda most: storage.tell_expiring(now, most)),
            (
                "invitees are reminded",
                lambda most: storage.remind_invitees(now, self._settings.reminders, most),
            ),
            ("deleted customers are removed", lambda most: storage.purge_customers(now, most)),
            ("revocations are cleared", lambda most: storage.clear_revoked_tokens(until, most)),
            ("counts of e-mails are cleared", lambda most: storage.clear_counts(now, most)),
            ("old keys are cleared", lambda most: storage.clear_idempotency_keys(now, most)),
            ("events are cleared", lambda most: storage.clear_events(now - kept, most)),
            ("attempts are cleared", lambda most: storage.clear_attempts(now - _ATTEMPTS, most)),
        ]
        if self._settings.retention is not None:
            before = now - self._settings.retention
            steps += [
                ("operations are cleared", lambda most: storage.clear_operations(before, most)),
                ("invitations' links are cleared", lambda most: storage.clear_links(before, most)),
            ]
        for what, step in steps:
            done = await self._in_batches(step)
            if done:
                _log.info("%d %s", done, what)

    async def _in_batches(self, step: Step) -> int:
        """Repeats the step until nothing is left; returns how many rows it did."""
        total = 0
        while not self._stopping.is_set():
            limit, started_at = self._limit, self._timer()
            done = await step(limit)
            took_s = self._timer() - started_at
            total += done
            if done < limit:
                break
            self._adapt(took_s)
            await self._pause(took_s * self._settings.rest)
        return total

    def _adapt(self, took_s: float) -> None:
        """Makes the next batch take about the time that it should."""
        wanted_s = self._settings.batch_within.total_seconds()
        change = min(2.0, max(0.5, wanted_s / max(took_s, 1e-6)))
        self._limit = min(_MOST, max(_FEWEST, int(self._limit * change)))

    async def _pause(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._stopping.wait()
        except TimeoutError:
            return
