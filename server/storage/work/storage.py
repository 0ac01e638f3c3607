"""The part of the storage that gives work to workers."""

from datetime import datetime, timedelta

from server.domain.invitations import link_token_hash
from server.domain.operations import Deferral, Failure
from server.storage.interface.work import MAX_DUE_AHEAD, Delivery
from server.storage.notify.notifier import Notifier
from server.storage.sql.batches import Batcher
from server.storage.sql.times import micros
from server.storage.work.due import Claim
from server.storage.work.mail import Outcome, claim_mail, finish_mail, next_mail_due
from server.storage.work.waiting import wait_until_due


class SqlMail:
    """Implements `interface.MailStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher, notifier: Notifier) -> None:
        self._writes = writes
        self._reads = reads
        self._notifier = notifier

    async def claim_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[Delivery]:
        claim = Claim(
            limit, micros(now), micros(now + lease), micros(now + max_due_ahead), retries_first
        )
        return await self._writes.submit(claim_mail, claim)

    async def finish_delivery(self, delivery: Delivery, now: datetime) -> bool:
        return await self._finish(delivery, now)

    async def fail_delivery(self, delivery: Delivery, failure: Failure, now: datetime) -> bool:
        return await self._finish(delivery, now, failure=failure)

    async def retry_delivery(
        self,
        delivery: Delivery,
        due_at: datetime,
        now: datetime,
        deferral: Deferral | None = None,
        *,
        keep_link: bool = True,
    ) -> bool:
        dropped = None if keep_link else link_token_hash(delivery.link_token)
        return await self._finish(
            delivery, now, retry_at=due_at, deferral=deferral, dropped_link=dropped
        )

    async def wait_for_work(self, now: datetime, longest: timedelta) -> None:
        with self._notifier.work() as work:
            await wait_until_due(self._reads, next_mail_due, work, now, longest)

    async def _finish(
        self,
        delivery: Delivery,
        now: datetime,
        failure: Failure | None = None,
        retry_at: datetime | None = None,
        deferral: Deferral | None = None,
        dropped_link: bytes | None = None,
    ) -> bool:
        outcome = Outcome(
            delivery.operation_id,
            delivery.number,
            delivery.attempt,
            micros(now),
            failure,
            None if retry_at is None else micros(retry_at),
            deferral,
            dropped_link,
        )
        return await self._writes.submit(finish_mail, outcome)
