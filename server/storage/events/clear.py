"""Clearing old events, from the oldest on; each log notes how far."""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from server.storage.schema.tables import EventNumber, ResellerNumber, event_logs, events
from server.storage.sql.statements import Query, Statement, Transaction
from server.storage.sql.times import Micros


class _Log(NamedTuple):
    reseller: ResellerNumber
    cleared: EventNumber


class _Kept(NamedTuple):
    number: EventNumber
    created_at: Micros


# Whoever writes to a log now has it locked; it has its turn next time.
_OLD_LOGS = Query(
    _Log,
    select(event_logs.c.reseller, event_logs.c.cleared)
    .where(event_logs.c.oldest_at < bindparam("before"))
    .order_by(event_logs.c.reseller)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "before",
    "limit",
)
_OLDEST = Query(
    _Kept,
    select(events.c.number, events.c.created_at)
    .where(events.c.reseller == bindparam("reseller"), events.c.number > bindparam("cleared"))
    .order_by(events.c.number)
    .limit(bindparam("limit")),
    *("reseller", "cleared", "limit"),
)
_CLEAR = Statement(
    delete(events).where(
        events.c.reseller == bindparam("reseller"), events.c.number <= bindparam("last")
    ),
    "reseller",
    "last",
)
_CLEARED = Statement(
    update(event_logs)
    .where(event_logs.c.reseller == bindparam("log"))
    .values(cleared=bindparam("last"), oldest_at=bindparam("oldest_at")),
    *("log", "last", "oldest_at"),
)


def clear_old_events(transaction: Transaction, before: Micros, limit: int) -> int:
    """Clears at most so many events that are older, the oldest of each log first; returns how many."""
    cleared = 0
    for log in transaction.fetch(_OLD_LOGS, before=before, limit=limit):
        left = limit - cleared
        if not left:
            break
        cleared += _clear(transaction, log, before, left)
    return cleared


def _clear(transaction: Transaction, log: _Log, before: Micros, limit: int) -> int:
    oldest = transaction.fetch(_OLDEST, reseller=log.reseller, cleared=log.cleared, limit=limit + 1)
    # Clocks differ: what is newer keeps what comes after it.
    old = 0
    while old < min(limit, len(oldest)) and oldest[old].created_at < before:
        old += 1
    if old:
        last = oldest[old - 1].number
        oldest_at = oldest[old].created_at if old < len(oldest) else None
        transaction.run(_CLEAR, reseller=log.reseller, last=last)
        transaction.run(_CLEARED, log=log.reseller, last=last, oldest_at=oldest_at)
    return old
