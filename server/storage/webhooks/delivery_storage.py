"""The part of the storage that gives deliveries to workers."""

import asyncio
from datetime import datetime, timedelta

from server.domain.events import EventType
from server.storage.interface.webhooks import DeliveryAttempt, WebhookDelivery
from server.storage.interface.work import MAX_DUE_AHEAD
from server.storage.notify.notifier import LOOK_EVERY, Notifier, wait
from server.storage.schema.columns import Count
from server.storage.schema.tables import ResellerNumber, WebhookNumber
from server.storage.sql.batches import Batcher
from server.storage.sql.times import from_micros, micros
from server.storage.webhooks.deliveries import (
    DeliveryClaim,
    claim_deliveries,
    look_ahead,
    subscribed_resellers,
)
from server.storage.webhooks.outcomes import Outcome, Try, finish_deliveries
from server.storage.work.due import Claim

# So many resellers are looked at in one claim; the others come next.
_MOST_IN_CLAIM = 64
# When a claim looks again at a webhook that another transaction has locked, which takes it no longer
# than its commit.
_PASSED_OVER_AGAIN_S = 0.01


class SqlDeliveries:
    """Implements `interface.DeliveryStorage`.

    Remembers which logs have grown that a webhook gets events of, so that a claim looks at no others,
    and nobody claims for what no webhook gets.
    """

    def __init__(
        self, claims: Batcher, writes: Batcher, reads: Batcher, notifier: Notifier
    ) -> None:
        """`claims` runs claims, which lock deliveries before their webhooks and so wait for nobody.

        No transaction does both: who has claimed would wait for a webhook's row, and its holder for
        the claimed deliveries.
        """
        self._claims = claims
        self._writes = writes
        self._reads = reads
        self._changed = asyncio.Event()
        # Resellers whose webhooks may have something to get, the longest known first.
        self._grown: dict[ResellerNumber, None] = {}
        # Those that have a webhook; None: not known.
        self._subscribed: frozenset[ResellerNumber] | None = None
        self._looked_at = 0.0
        # Those of which others held a webhook as it was to be claimed for.
        self._passed_over: set[ResellerNumber] = set()
        notifier.on_log.append(self._note)
        notifier.on_deliveries.append(self.look_again)

    def look_again(self) -> None:
        self._subscribed = None
        self._changed.set()

    async def claim_webhook_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[WebhookDelivery]:
        claim = Claim(
            limit, micros(now), micros(now + lease), micros(now + max_due_ahead), retries_first
        )
        grown = list(self._grown)[:_MOST_IN_CLAIM]
        for each in grown:
            del self._grown[each]
        try:
            claimed = await self._claims.submit(claim_deliveries, DeliveryClaim(claim, grown))
        except Exception:
            self._grown.update(dict.fromkeys(grown))
            raise
        self._grown.update(dict.fromkeys(claimed.unfinished))
        if claimed.passed_over and not self._passed_over:
            asyncio.get_running_loop().call_later(_PASSED_OVER_AGAIN_S, self._take_up_passed_over)
        self._passed_over |= claimed.passed_over
        return claimed.deliveries

    async def finish_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt,
        paused_until: datetime | None = None,
    ) -> bool:
        outcome = _outcome(delivery, attempt, attempt.at)
        return await self._finish(
            outcome._replace(
                succeeded=True, paused_until=None if paused_until is None else micros(paused_until)
            )
        )

    async def retry_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt | None,
        due_at: datetime,
        paused_until: datetime | None = None,
    ) -> bool:
        now = due_at if attempt is None else attempt.at
        return await self._finish(
            _outcome(delivery, attempt, now)._replace(
                retry_at=micros(due_at),
                paused_until=None if paused_until is None else micros(paused_until),
            )
        )

    async def fail_webhook_delivery(
        self,
        delivery: WebhookDelivery,
        attempt: DeliveryAttempt,
        paused_until: datetime | None = None,
        *,
        disable: bool = False,
    ) -> bool:
        paused = None if paused_until is None else micros(paused_until)
        outcome = _outcome(delivery, attempt, attempt.at)
        return await self._finish(outcome._replace(paused_until=paused, disable=disable))

    async def wait_for_webhook_deliveries(self, now: datetime, longest: timedelta) -> bool:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        while True:
            self._changed.clear()
            if self._grown:
                return True
            passed = timedelta(seconds=loop.time() - started_at)
            due_at = await self._look(now + passed)
            if self._grown:
                return True
            passed = timedelta(seconds=loop.time() - started_at)
            left = longest - passed
            if due_at is not None:
                left = min(left, due_at - (now + passed))
            if left <= timedelta():
                return False
            await wait(self._changed, min(left, LOOK_EVERY).total_seconds())

    async def _look(self, now: datetime) -> datetime | None:
        """Returns when the next delivery is due.

        Once a second, or where webhooks have changed, looks for all that lags behind the log: signals
        may be lost, and pauses end.
        """
        loop = asyncio.get_running_loop()
        is_due = self._subscribed is None or (
            loop.time() - self._looked_at >= LOOK_EVERY.total_seconds()
        )
        if is_due:
            self._looked_at = loop.time()
            found = await self._reads.submit(subscribed_resellers, micros(now))
            self._subscribed = found.subscribed
            self._grown.update(dict.fromkeys(found.lagging))
        due_at = await self._reads.submit(look_ahead, None)
        return None if due_at is None else from_micros(due_at)

    async def _finish(self, outcome: Outcome) -> bool:
        finished = await self._writes.submit(finish_deliveries, outcome)
        if finished.lagging is not None:
            self._grown[finished.lagging] = None
        self._changed.set()
        return finished.held

    def _take_up_passed_over(self) -> None:
        self._grown.update(dict.fromkeys(self._passed_over))
        self._passed_over.clear()
        self._changed.set()

    def _note(self, resellers: tuple[int, ...]) -> None:
        """Notes that logs have grown."""
        for each in resellers:
            number = ResellerNumber(each)
            if self._subscribed is None or number in self._subscribed:
                self._grown[number] = None
                self._changed.set()


def _outcome(delivery: WebhookDelivery, attempt: DeliveryAttempt | None, now: datetime) -> Outcome:
    return Outcome(
        number=delivery.number,
        attempt=delivery.attempt,
        webhook=WebhookNumber(delivery.webhook_number),
        event=delivery.event.number,
        url=delivery.url,
        is_test=delivery.event.type is EventType.WEBHOOK_TEST,
        now=micros(now),
        try_=None if attempt is None else _try(attempt),
    )


def _try(attempt: DeliveryAttempt) -> Try:
    return Try(
        micros(attempt.at),
        Count(round(attempt.took / timedelta(milliseconds=1))),
        None if attempt.status is None else Count(attempt.status),
        attempt.error,
    )
