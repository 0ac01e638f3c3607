"""How much waits to be sent, read for those who watch over the service."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select

from server.storage.interface.backlog import Backlog, MailProblem
from server.storage.operations.rows import deferral
from server.storage.resellers import IS_HELD
from server.storage.schema.tables import (
    MAIL_HELD,
    DeferralJson,
    events,
    operations,
    resellers,
    retention,
)
from server.storage.schema.webhook_tables import deliveries, webhooks
from server.storage.sql.batches import Batcher
from server.storage.sql.statements import Query, Transaction
from server.storage.sql.times import Micros, from_micros, from_micros_or_none

_MOST_COUNTED = 10_000
# New e-mails are read in the order in which they are due, which is that of their calls, but for the few
# that are claimed: those are due at the end of the lease. So the oldest is among so many.
_LOOKED_AT = 256

_o, _d, _e, _w = operations.c, deliveries.c, events.c, webhooks.c


class _Row(NamedTuple):
    mails: int
    retried_mails: int
    oldest_mail_at: Micros | None
    oldest_retried_mail_at: Micros | None
    deliveries: int
    oldest_event_at: Micros | None
    failing_webhooks: int
    mail_held_since: Micros | None


def _count(table: Any, condition: ColumnElement[bool]) -> Any:
    rows = select(table.c.n).where(condition).limit(_MOST_COUNTED).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


_new = _o.due_at.is_not(None) & _o.deferral.is_(None)
_again = _o.due_at.is_not(None) & _o.deferral.is_not(None)
_first = select(_o.created_at).where(_new).order_by(_o.due_at).limit(_LOOKED_AT).subquery()
# The sum keeps SQLite from walking the primary key, past all that are done, to find the least number.
_oldest_again = select(func.min(_o.n + 0)).where(_again).scalar_subquery()
# The first event of each webhook that it has not got: one that is under way, or the next in the log. But
# for those that fail: their events wait for their receivers.
_is_sent_to = and_(_w.enabled, _w.verified_at.is_not(None), _w.failing_since.is_(None), ~IS_HELD)
_under_way = select(func.min(_d.event)).where(_d.webhook == _w.n).scalar_subquery()
_oldest_event = (
    select(func.min(_e.created_at))
    .join_from(webhooks, resellers, resellers.c.n == _w.reseller)
    .join(
        events,
        and_(_e.reseller == _w.reseller, _e.number == func.coalesce(_under_way, _w.position + 1)),
    )
    .where(_is_sent_to)
)
_BACKLOG = Query(
    _Row,
    select(
        _count(operations, _new),
        _count(operations, _again),
        select(func.min(_first.c.created_at)).scalar_subquery(),
        select(_o.created_at).where(_o.n == _oldest_again).scalar_subquery(),
        _count(deliveries, _d.due_at.is_not(None)),
        _oldest_event.scalar_subquery(),
        _count(webhooks, and_(_w.enabled, _w.failing_since.is_not(None))),
        select(retention.c.value).where(retention.c.name == MAIL_HELD).scalar_subquery(),
    ),
)


class _Deferred(NamedTuple):
    deferral: DeferralJson
    modified_at: Micros


_DEFERRED = Query(_Deferred, select(_o.deferral, _o.modified_at).where(_again).limit(_MOST_COUNTED))


class SqlBacklog:
    """Implements `interface.BacklogStorage`."""

    def __init__(self, reads: Batcher) -> None:
        self._reads = reads

    async def read_mail_problems(self) -> Sequence[MailProblem]:
        return await self._reads.submit(read_mail_problems, None)

    async def read_backlog(self) -> Backlog:
        return await self._reads.submit(read_backlog, None)


def read_backlog(transaction: Transaction, batch: Sequence[None]) -> list[Backlog]:
    """Reads it once for all who ask."""
    (row,) = transaction.fetch(_BACKLOG)
    oldest = [at for at in (row.oldest_mail_at, row.oldest_retried_mail_at) if at is not None]
    found = Backlog(
        mails=row.mails,
        retried_mails=row.retried_mails,
        oldest_mail_at=from_micros_or_none(min(oldest, default=None)),
        deliveries=row.deliveries,
        oldest_event_at=from_micros_or_none(row.oldest_event_at),
        failing_webhooks=row.failing_webhooks,
        mail_held_since=from_micros_or_none(row.mail_held_since),
    )
    return [found] * len(batch)


def read_mail_problems(
    transaction: Transaction, batch: Sequence[None]
) -> list[Sequence[MailProblem]]:
    """Reads them once for all who ask."""
    counts: Counter[str] = Counter()
    latest: dict[str, Micros] = {}
    for row in transaction.fetch(_DEFERRED):
        problem = deferral(row.deferral).problem
        counts[problem] += 1
        latest[problem] = max(latest.get(problem, row.modified_at), row.modified_at)
    found = [
        MailProblem(problem, count, from_micros(latest[problem]))
        for problem, count in counts.most_common()
    ]
    return [found] * len(batch)
