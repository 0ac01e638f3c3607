"""The runner: claims what is due, has its handler attempt it, and records what became of it."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from server.telemetry.failure_log import FailureLog
from server.telemetry.redacted_logging import log_failure
from server.worker.settings import RunnerSettings
from server.worker.work import ClaimedT, Handler, Record

_log = logging.getLogger(__name__)

# How soon the storage is asked again after it could not answer: doubled up to the longest, since all that
# is due waits for so long once the storage is back.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.25
_LONGEST_FALSE_ALARM_S = 1.0
# Of so many claims one prefers what is tried again, the others what is new.
_RETRIES_TURN = 4

T = TypeVar("T")


class Runner(Generic[ClaimedT]):
    """Does one kind of work until it is stopped. Any number of runners may share a storage.

    Each piece of work is done at least once: after a crash between its end and the record, again.
    """

    def __init__(
        self,
        handler: Handler[ClaimedT],
        now: Callable[[], datetime],
        settings: RunnerSettings | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns numbers from 0 to 1, which spread the delays."""
        self._handler = handler
        self._now = now
        self._settings = settings or RunnerSettings()
        self._jitter = jitter
        # All that is claimed and whose outcome is not recorded yet; and since when attempts are
        # under way, the oldest first.
        self._claimed: dict[asyncio.Task[None], ClaimedT] = {}
        self._attempts: dict[tuple[str, int], float] = {}
        self._attempt_ended = asyncio.Event()
        self._false_alarms = 0
        self._claims = 0
        self._failures = FailureLog(_log)
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        # Calls of `settle` that wait for what the next claim finds; and that there are any.
        self._settling: list[asyncio.Future[int]] = []
        self._settle_asked = asyncio.Event()

    @property
    def name(self) -> str:
        """What the log calls its work."""
        return self._handler.name

    @property
    def in_work(self) -> int:
        """How many pieces of work are claimed and not recorded yet."""
        return len(self._claimed)

    async def run(self) -> None:
        """Works until `stop` is called; survives whatever storage and handler do."""
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                try:
                    await self._claim_batch()
                    pause_s = _FIRST_PAUSE_S
                except Exception as error:
                    self._failures.tell_error(f"claiming {self._handler.name} failed", error)
                    await self._unless_stopping(asyncio.sleep(pause_s))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._stopped.set()
            for asked in self._settling:
                asked.cancel()

    async def settle(self) -> None:
        """Returns once nothing is due by the clock as it is now, and nothing is under way.

        For a clock that was set; `run` must be under way. Raises what claiming raises.
        """
        while True:
            if self._claimed:
                await asyncio.wait(list(self._claimed))
            asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._settling.append(asked)
            self._settle_asked.set()
            self._attempt_ended.set()
            if not await asked and not self._claimed:
                return

    async def stop(self, within: timedelta) -> None:
        """Claims no more, and lets what is under way finish; gives back what then remains.

        Ends `run`, which must have been started, and closes the handler.
        """
        self._stopping.set()
        self._attempt_ended.set()
        await self._stopped.wait()
        if self._claimed:
            await asyncio.wait(self._claimed, timeout=within.total_seconds())
        left = dict(self._claimed)
        for task in left:
            task.cancel()
        if left:
            name = self._handler.name
            _log.warning("%d %s were still under way and are given back", len(left), name)
            await asyncio.wait(left)
            # Another worker may then go on at once, without waiting for the leases to end.
            given_back = (self._handler.give_back(work) for work in left.values())
            for outcome in await asyncio.gather(*given_back, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log_failure(_log, f"giving {name} back failed; leases will end", outcome)
        await self._handler.close()

    async def _claim_batch(self) -> None:
        """Claims as much as can be done now; else waits until there may be something to do."""
        free, next_s = self._free_slots()
        if free <= 0:
            self._attempt_ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(next_s):
                    await self._attempt_ended.wait()
            await asyncio.sleep(0)  # those who finish at the same moment are claimed for together
            return
        asked, self._settling = self._settling, []
        self._settle_asked.clear()
        try:
            if asked:
                # The clock was set: what the handler knows of due times is out of date.
                await self._handler.wait_for_work(timedelta())
            claimed = await self._claim(free)
        except Exception as error:
            _tell(asked, error)
            raise
        _tell(asked, len(claimed))
        now_s = asyncio.get_running_loop().time()
        for work in claimed:
            task = asyncio.create_task(self._do(work))
            self._claimed[task] = work
            self._attempts[self._handler.id_of(work), work.attempt] = now_s
            task.add_done_callback(self._claimed.pop)
        if len(claimed) < free:
            await self._wait_for_work(claimed=bool(claimed))

    async def _claim(self, most: int) -> Sequence[ClaimedT]:
        settings = self._settings
        self._claims += 1
        return await self._handler.claim(
            most,
            settings.lease,
            2 * max(settings.retry.longest, settings.lease),
            retries_first=self._claims % _RETRIES_TURN == 0,
        )

    def _free_slots(self) -> tuple[int, float | None]:
        """Returns how many more attempts may begin, and the seconds until time alone allows more."""
        settings = self._settings
        now_s = asyncio.get_running_loop().time()
        ages = [now_s - since for since in self._attempts.values()]
        slow_after_s = settings.slow_after.total_seconds()
        slow = sum(age >= slow_after_s for age in ages)
        counted = len(ages) - min(slow, settings.extra_slots)
        next_s = None
        if slow < min(len(ages), settings.extra_slots):
            next_s = slow_after_s - ages[slow]
        return settings.parallel - counted, next_s

    async def _wait_for_work(self, *, claimed: bool) -> None:
        """Waits for work; pauses where there is said to be some again and again but none is found.

        So it is for a moment while another worker claims it, and for long if a record is broken. Word of
        something new is no false alarm, though there may be nothing to do about it.
        """
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        longest = self._settings.longest_wait
        is_new = await self._unless_stopping(self._handler.wait_for_work(longest))
        at_once_s = min(_FIRST_PAUSE_S, longest.total_seconds() / 2)
        if claimed or is_new or loop.time() - started_at > at_once_s:
            self._false_alarms = 0
            return
        self._false_alarms += 1
        if self._false_alarms > 1:
            pause_s = min(_FIRST_PAUSE_S * self._false_alarms, _LONGEST_FALSE_ALARM_S)
            await self._unless_stopping(asyncio.sleep(pause_s))

    async def _unless_stopping(self, awaitable: Coroutine[Any, Any, T]) -> T | None:
        """Awaits, but not past `stop`, nor while `settle` asks: returns None then."""
        task = asyncio.create_task(awaitable)
        others = {asyncio.create_task(each.wait()) for each in (self._stopping, self._settle_asked)}
        try:
            await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in others:
                other.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def _do(self, work: ClaimedT) -> None:
        """Takes one piece of work from claim to recorded outcome."""
        work_id = self._handler.id_of(work)
        try:
            try:
                record = await self._attempt(work)
            finally:
                del self._attempts[work_id, work.attempt]
                self._attempt_ended.set()
            await self._record(work, record)
        except Exception as error:
            what = f"{self._handler.name} are left until their leases end"
            self._failures.tell_error(what, error, f"first {work_id}")

    async def _attempt(self, work: ClaimedT) -> Record:
        """Has the work done once; returns what records the outcome."""
        try:
            async with asyncio.timeout(self._time_limit(work).total_seconds()):
                return await self._handler.attempt(work)
        except Exception as error:
            next_try_at = self._settings.retry.next_try_at(
                work.tries + 1, self._now(), work.requested_at, self._jitter()
            )
            if next_try_at is None:
                return self._handler.give_up(work, error)
            return self._handler.put_off(work, error, next_try_at)

    def _time_limit(self, work: ClaimedT) -> timedelta:
        """Returns how long the attempt may take, so that its outcome is recorded under the lease."""
        settings = self._settings
        to_record = settings.lease - settings.attempt_within
        return min(settings.attempt_within, work.lease_until - self._now() - to_record)

    async def _record(self, work: ClaimedT, record: Record) -> None:
        """Records an outcome, again and again while the lease holds if the storage can't."""
        work_id = self._handler.id_of(work)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not await record():
                    _log.info("%s: another worker has taken over", work_id)
                return
            except Exception as error:
                if self._now() + timedelta(seconds=pause_s) >= work.lease_until:
                    raise
                self._failures.tell_error("recording outcomes failed", error, f"first {work_id}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _tell(asked: Sequence["asyncio.Future[int]"], found: int | Exception) -> None:
    """Tells those who have not gone what a claim found."""
    for each in asked:
        if each.done():
            continue
        if isinstance(found, Exception):
            each.set_exception(found)
        else:
            each.set_result(found)
