"""Clearing what was recorded of tries long ago."""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, select

from server.storage.schema.tables import AttemptNumber
from server.storage.schema.webhook_tables import attempts
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.sql.transactions import one_by_one

_a = attempts.c


class _Oldest(NamedTuple):
    n: AttemptNumber
    at: Micros


# Numbers grow with time, so no index of times is needed.
_OLDEST = Query(
    _Oldest,
    select(_a.n, _a.at).order_by(_a.n).limit(bindparam("limit")).with_for_update(skip_locked=True),
    "limit",
)
_CLEAR = Statement(delete(attempts).where(_a.n.in_(IDS)))


class OldAttempts(NamedTuple):
    """What to clear at once: all before a time, of which at most `limit`."""

    before: Micros
    limit: int


@one_by_one
def clear_old_attempts(transaction: Transaction, wanted: OldAttempts) -> int:
    """Clears old attempts; see RetentionStorage.clear_attempts."""
    rows = transaction.fetch(_OLDEST, limit=wanted.limit)
    old = [row.n for row in rows if row.at < wanted.before]
    if old:
        transaction.run(_CLEAR, old)
    return len(old)
