"""The worker: claims e-mails that are due, sends them, records what became of each."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

from server.domain.limits import SPREAD_BY
from server.domain.operations import Deferral
from server.storage.interface import Delivery, Storage
from server.worker.failure_log import FailureLog
from server.worker.mail.failures import refused, undelivered
from server.worker.mail.mailer import Mail, MailDelayedError, Mailer, MailError, MailRefusedError
from server.worker.redacted_logging import log_failure
from server.worker.settings import WorkerSettings

_log = logging.getLogger(__name__)

# How soon the storage is asked again after it could not answer: doubled up to the longest.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_LONGEST_FALSE_ALARM_S = 1.0
# Of so many claims one prefers e-mails that are tried again, the others new ones.
_RETRIES_TURN = 4
_LOG_IN_ADVICE = "check BILLING_SMTP_URL, and whether the server takes mail from here"
_SENDER_ADVICE = "check its policy, BILLING_MAIL_FROM, and SPF, DKIM and DMARC of its domain"


class Writer(Protocol):
    """Writes the e-mails."""

    def invitation(self, delivery: Delivery) -> Mail:
        """Returns an invitation's e-mail. Raises MailRefusedError for an impossible address."""
        ...


class Worker:
    """Sends what is due until it is stopped. Any number of workers may share a storage.

    An e-mail goes out at least once: after a crash between its acceptance and the record it is
    sent again, with the same Message-ID.
    """

    def __init__(
        self,
        storage: Storage,
        mailer: Mailer,
        writer: Writer,
        now: Callable[[], datetime],
        settings: WorkerSettings | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance` returns numbers from 0 to 1, which spread the delays."""
        self._storage = storage
        self._mailer = mailer
        self._writer = writer
        self._now = now
        self._settings = settings or WorkerSettings()
        self._chance = chance
        # Everything claimed whose outcome is not recorded yet, and since when what of it is being
        # sent, the oldest first.
        self._claimed: dict[asyncio.Task[None], Delivery] = {}
        self._sending: dict[tuple[str, int], float] = {}
        self._freed = asyncio.Event()
        self._false_alarms = 0
        self._claims = 0
        self._failures = FailureLog(_log)
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop` is called; survives whatever storage, mail server and e-mails do."""
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                try:
                    await self._round()
                    pause_s = _FIRST_PAUSE_S
                except Exception as error:
                    self._failures.tell_error("claiming e-mails failed", error)
                    await self._unless_stopping(asyncio.sleep(pause_s))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._stopped.set()

    async def stop(self, within: timedelta) -> None:
        """Claims no more, and lets what is being sent finish; gives back what then remains.

        Ends `run`, which must have been started, and closes the mailer.
        """
        self._stopping.set()
        self._freed.set()
        await self._stopped.wait()
        if self._claimed:
            await asyncio.wait(self._claimed, timeout=within.total_seconds())
        left = dict(self._claimed)
        for task in left:
            task.cancel()
        if left:
            _log.warning("%d e-mails were still being sent and are given back", len(left))
            await asyncio.wait(left)
            # Another worker may then go on at once, without waiting for the leases to end.
            given_back = (
                self._storage.retry_delivery(delivery, self._now(), self._now())
                for delivery in left.values()
            )
            for outcome in await asyncio.gather(*given_back, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log_failure(_log, "giving an e-mail back failed; its lease will end", outcome)
        await self._mailer.close()

    async def _round(self) -> None:
        """Claims as much as can be sent now; else waits until there may be something to do."""
        free, next_s = self._free()
        if free <= 0:
            self._freed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(next_s):
                    await self._freed.wait()
            await asyncio.sleep(0)  # those who finish at the same moment are claimed for together
            return
        settings = self._settings
        furthest = 2 * max(settings.retry.longest, settings.lease, SPREAD_BY)
        self._claims += 1
        deliveries = await self._storage.claim_deliveries(
            free,
            self._now(),
            settings.lease,
            furthest,
            retries_first=self._claims % _RETRIES_TURN == 0,
        )
        now_s = asyncio.get_running_loop().time()
        for delivery in deliveries:
            task = asyncio.create_task(self._deliver(delivery))
            self._claimed[task] = delivery
            self._sending[delivery.operation_id, delivery.attempt] = now_s
            task.add_done_callback(self._claimed.pop)
        if len(deliveries) < free:
            await self._wait(claimed=bool(deliveries))

    def _free(self) -> tuple[int, float | None]:
        """Returns how many more can be sent now, and the seconds until time alone makes room."""
        settings = self._settings
        now_s = asyncio.get_running_loop().time()
        ages = [now_s - since for since in self._sending.values()]
        patience_s = settings.patience.total_seconds()
        slow = sum(age >= patience_s for age in ages)
        counted = len(ages) - min(slow, settings.slow)
        next_s = None
        if slow < min(len(ages), settings.slow):
            next_s = patience_s - ages[slow]
        return settings.parallel - counted, next_s

    async def _wait(self, *, claimed: bool) -> None:
        """Waits for work; pauses where there is said to be some again and again but none is found.

        So it is for a moment while another worker claims it, and for long if a record is broken.
        """
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        longest = self._settings.longest_wait
        await self._unless_stopping(self._storage.wait_for_work(self._now(), longest))
        at_once_s = min(_FIRST_PAUSE_S, longest.total_seconds() / 2)
        if claimed or loop.time() - started_at > at_once_s:
            self._false_alarms = 0
            return
        self._false_alarms += 1
        if self._false_alarms > 1:
            pause_s = min(_FIRST_PAUSE_S * self._false_alarms, _LONGEST_FALSE_ALARM_S)
            await self._unless_stopping(asyncio.sleep(pause_s))

    async def _unless_stopping(self, awaitable: Coroutine[Any, Any, Any]) -> None:
        """Awaits, but not past `stop`."""
        task = asyncio.create_task(awaitable)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _deliver(self, delivery: Delivery) -> None:
        """Takes one e-mail from claim to recorded outcome."""
        try:
            try:
                record = await self._attempt(delivery)
            finally:
                del self._sending[delivery.operation_id, delivery.attempt]
                self._freed.set()
            await self._recorded(delivery, record)
        except Exception as error:
            self._failures.tell_error(
                "e-mails are left until their leases end", error, f"first {delivery.operation_id}"
            )

    async def _attempt(self, delivery: Delivery) -> Callable[[], Awaitable[bool]]:
        """Sends the e-mail once; returns what records the outcome."""
        storage = self._storage
        if delivery.cancel_requested:
            return lambda: storage.retry_delivery(delivery, self._now(), self._now())
        try:
            async with asyncio.timeout(self._time_limit(delivery).total_seconds()):
                await self._mailer.send(self._writer.invitation(delivery))
        except MailRefusedError as error:
            self._tell("e-mails are refused for good", error, delivery, logging.INFO)
            failure = refused(error)
            return lambda: storage.fail_delivery(delivery, failure, self._now())
        except MailDelayedError as error:
            return self._retried(delivery, error)
        except TimeoutError:
            slow = "the mail server did not answer in time"
            return self._retried(delivery, MailDelayedError("time limit", problem=slow))
        except Exception as error:
            self._failures.tell_error(
                "sending e-mails broke", error, f"first {delivery.operation_id}"
            )
            broken = "the service failed; its operator's log says how"
            return self._retried(delivery, MailDelayedError("unexpected", problem=broken))
        return lambda: storage.finish_delivery(delivery, self._now())

    def _time_limit(self, delivery: Delivery) -> timedelta:
        """Returns how long the attempt may take, so that its outcome is recorded under the lease."""
        settings = self._settings
        to_record = settings.lease - settings.send_within
        return min(settings.send_within, delivery.lease_until - self._now() - to_record)

    def _retried(
        self, delivery: Delivery, error: MailDelayedError
    ) -> Callable[[], Awaitable[bool]]:
        """Returns what records that the e-mail is to be sent again later, or is given up."""
        storage = self._storage
        now = self._now()
        next_at = self._settings.retry.next_try_at(
            delivery.attempt, now, delivery.requested_at, self._chance()
        )
        if next_at is None:
            self._tell("e-mails are given up", error, delivery)
            failure = undelivered(delivery, error, now)
            return lambda: storage.fail_delivery(delivery, failure, self._now())
        if error.operators:
            advice = _LOG_IN_ADVICE if error.stage == "connection" else _SENDER_ADVICE
            self._tell(
                f"the mail server refuses this service; {advice}", error, delivery, logging.ERROR
            )
        else:
            self._tell("e-mails are not accepted and tried again", error, delivery)
        # At its end the invitation expires, which ends the operation too.
        next_at = min(next_at, delivery.expires_at)
        deferral = Deferral(delivery.attempt, error.problem, next_at)
        return lambda: storage.retry_delivery(
            delivery, next_at, self._now(), deferral, keep_link=error.may_have_arrived
        )

    def _tell(
        self, what: str, error: MailError, delivery: Delivery, level: int = logging.WARNING
    ) -> None:
        self._failures.tell(
            f"{what}: {error}", f"first {delivery.operation_id}, attempt {delivery.attempt}", level
        )

    async def _recorded(self, delivery: Delivery, record: Callable[[], Awaitable[bool]]) -> None:
        """Records an outcome, again and again while the lease holds if the storage can't."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not await record():
                    _log.info("%s: another worker has taken over", delivery.operation_id)
                return
            except Exception as error:
                if self._now() + timedelta(seconds=pause_s) >= delivery.lease_until:
                    raise
                self._failures.tell_error(
                    "recording outcomes failed", error, f"first {delivery.operation_id}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
