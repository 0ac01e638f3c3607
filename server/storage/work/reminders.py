"""E-mails that remind of invitations: claimed by workers, and what became of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select, update

from server.domain import ids
from server.domain.access import SERVICE, Actor
from server.domain.bounces import BounceReport, bounce_local_part
from server.domain.events import EventType
from server.domain.invitations import link_token_hash, new_link_token
from server.storage.customer_rows import LOCK_INVITATIONS
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.interface.work import MAX_DUE_AHEAD, Delivery
from server.storage.invitation_options import read_options
from server.storage.invitations.bounces import record_returned
from server.storage.invitations.links import INSERT_LINKS, link_hash, link_number
from server.storage.notify.notifier import Notifier
from server.storage.reseller_details import read_details
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import PENDING, DeliveryStateCode, InvitationStateCode
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    DetailsJson,
    DisplayName,
    Email,
    InvitationId,
    LinkRow,
    OperationId,
    OperationNumber,
    OptionsJson,
    ReminderRow,
    ResellerId,
    customers,
    operations,
    reminders,
    resellers,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros, micros
from server.storage.sql.transactions import one_by_one
from server.storage.work.due import Claim, DueWork
from server.storage.work.mail_hold import mail_is_held
from server.storage.work.waiting import wait_until_due

_SERVICE = Actor(SERVICE)
_HOUR = 3_600_000_000

_c, _r = customers.c, reminders.c


class _DueReminder(NamedTuple):
    """A reminder that is due, with all that is written in it; of a customer that is gone, nothing."""

    n: CustomerNumber
    days: Count
    requested_at: Micros
    attempts: Count
    customer_id: CustomerId | None
    email: Email
    customer_name: DisplayName
    reseller_name: DisplayName
    contact: str | None
    contact_details: DetailsJson | None
    expires_at: Micros
    invitation: InvitationStateCode
    invitation_id: InvitationId | None
    made_by: OperationId | None
    reseller_id: ResellerId
    options: OptionsJson | None
    is_held: bool
    delivery: DeliveryStateCode | None
    latest: OperationNumber
    is_sent: bool | None


_REMINDERS = DueWork(
    reminders,
    _DueReminder,
    select(
        *(_r.n, _r.days, _r.requested_at, _r.attempts),
        *(_c.id, _c.email, _c.name, resellers.c.name),
        *(resellers.c.contact, resellers.c.contact_details),
        *(_c.expires_at, _c.invitation, _c.invitation_id, _c.operation_id),
        *(resellers.c.id, _c.options, IS_HELD, _c.delivery, _c.latest),
        operations.c.done,
    ).select_from(
        reminders.outerjoin(customers, _c.n == _r.n)
        .outerjoin(resellers, resellers.c.n == _c.reseller)
        .outerjoin(operations, operations.c.n == _c.latest)
    ),
)
_LOCK = Query(ReminderRow, select(*_r).where(_r.n.in_(IDS)).with_for_update())
_DELETE = Statement(delete(reminders).where(_r.n.in_(IDS)))
_DEFER = Statement(update(reminders).where(_r.n.in_(IDS)).values(deferral="put off"))


@one_by_one
def claim_reminders(transaction: Transaction, wanted: Claim) -> list[Delivery]:
    """Claims reminders; see ReminderStorage.claim_reminders."""
    if mail_is_held(transaction):
        return []
    rows = _REMINDERS.find(transaction, wanted)
    unwanted = [row.n for row in rows if not _is_still_wanted(row, wanted.now)]
    if unwanted:
        transaction.run(_DELETE, unwanted)
    claimed, links, deliveries = [], [], []
    for row in rows:
        if row.n in unwanted:
            continue
        if row.is_held:
            _REMINDERS.put_off(transaction, row.n, Micros(wanted.now + _HOUR))
            continue
        token = new_link_token()
        token_hash = link_token_hash(token)
        number = link_number(token_hash)
        # A link of the latest e-mail's operation: it holds beside those sent before.
        links.append(LinkRow(number, link_hash(token_hash), row.n, row.latest, wanted.now))
        local_part = bounce_local_part(number, token_hash)
        deliveries.append(_delivery(row, token, local_part, wanted.lease_until))
        claimed.append(row.n)
    _REMINDERS.lease(transaction, claimed, wanted.lease_until)
    transaction.insert(INSERT_LINKS, links)
    return deliveries


def _is_still_wanted(row: _DueReminder, now: Micros) -> bool:
    return (
        row.customer_id is not None
        and row.invitation == PENDING
        and row.expires_at > now
        and row.delivery is None
        and row.is_sent in (None, True)  # None: its operation is cleared
    )


def _delivery(row: _DueReminder, token: str, local_part: str, lease_until: Micros) -> Delivery:
    tail = (row.customer_id or "")[3:]
    made_by = row.made_by or ids.OPERATION + tail
    return Delivery(
        # Of this reminder's Message-ID.
        operation_id=f"{made_by}.{row.expires_at}.{row.days}",
        attempt=row.attempts + 1,
        lease_until=from_micros(lease_until),
        cancel_requested=False,
        invitation_id=row.invitation_id or ids.INVITATION + tail,
        email=row.email,
        customer_name=row.customer_name,
        reseller_name=row.reseller_name,
        expires_at=from_micros(row.expires_at),
        link_token=token,
        first_operation_id=made_by,
        requested_at=from_micros(row.requested_at),
        number=row.n,
        reseller_contact=row.contact,
        customer_id=row.customer_id or "",
        reseller_id=row.reseller_id,
        reseller_details=read_details(row.contact_details),
        options=read_options(row.options),
        bounce_local_part=local_part,
        is_reminder=True,
    )


class _Outcome(NamedTuple):
    """What became of a claim: sent, came back, to be tried again, or (with none of these) given up."""

    number: int
    attempt: int
    now: Micros
    is_sent: bool = False
    report: BounceReport | None = None
    retry_at: Micros | None = None


@one_by_one
def finish_reminder(transaction: Transaction, outcome: _Outcome) -> bool:
    """Records what became of a claim; False where another has overtaken it."""
    rows = transaction.fetch(_LOCK, [outcome.number])
    if not rows or rows[0].attempts != outcome.attempt:
        return False
    if outcome.retry_at is not None:
        _REMINDERS.put_off(transaction, outcome.number, outcome.retry_at)
        transaction.run(_DEFER, [outcome.number])
        transaction.has_work = True
        return True
    transaction.run(_DELETE, [outcome.number])
    for row in transaction.fetch(LOCK_INVITATIONS, [outcome.number]):
        if outcome.is_sent:
            event = NewEvent(
                *(row.reseller, EventType.INVITATION_REMINDED, outcome.now, _SERVICE),
                *(invitation_json(row), row.n),
            )
            log(transaction, event)
        elif outcome.report and row.invitation == PENDING and row.delivery is None:
            record_returned(transaction, row, outcome.report, from_micros(outcome.now))
    return True


def next_reminder_due(transaction: Transaction, batch: Sequence[None]) -> list[Micros | None]:
    """Returns when the next one is due, for each who asks; None: there is none, or all are held."""
    if mail_is_held(transaction):
        return [None] * len(batch)
    return [_REMINDERS.next_due(transaction)] * len(batch)


class SqlReminders:
    """Implements `interface.ReminderStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher, notifier: Notifier) -> None:
        self._writes = writes
        self._reads = reads
        self._notifier = notifier

    async def claim_reminders(
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
        return await self._writes.submit(claim_reminders, claim)

    async def finish_reminder(self, delivery: Delivery, now: datetime) -> bool:
        return await self._finish(delivery, now, is_sent=True)

    async def fail_reminder(
        self, delivery: Delivery, now: datetime, report: BounceReport | None = None
    ) -> bool:
        return await self._finish(delivery, now, report=report)

    async def retry_reminder(self, delivery: Delivery, due_at: datetime, now: datetime) -> bool:
        return await self._finish(delivery, now, retry_at=micros(due_at))

    async def wait_for_reminders(self, now: datetime, longest: timedelta) -> None:
        with self._notifier.work() as work:
            await wait_until_due(self._reads, next_reminder_due, work, now, longest)

    async def _finish(
        self,
        delivery: Delivery,
        now: datetime,
        *,
        is_sent: bool = False,
        report: BounceReport | None = None,
        retry_at: Micros | None = None,
    ) -> bool:
        outcome = _Outcome(
            delivery.number, delivery.attempt, micros(now), is_sent, report, retry_at
        )
        return await self._writes.submit(finish_reminder, outcome)
