"""Clearing what is old, a batch at a time, oldest first, by an index.

Rows that another transaction holds are left for the next time. Several processes may clear at
once: each takes other rows.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, bindparam, delete, func, or_, select, update

from server.storage.customers.deletion import Purge, purge_customers
from server.storage.events.clear import clear_old_events
from server.storage.invitations.expire import Expiry, expire_invitations
from server.storage.invitations.expiring import tell_expiring
from server.storage.invitations.reminders import Reminding, remind_invitees
from server.storage.keys import KeyLifetime
from server.storage.schema.access_tables import revoked_tokens
from server.storage.schema.tables import (
    CLEARED_NUMBERS,
    CLEARED_OPERATIONS,
    LOGGED_SINCE,
    counts,
    customers,
    idempotency_keys,
    link_tokens,
    operations,
    retention,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, micros
from server.storage.sql.transactions import one_by_one
from server.storage.webhooks.old_attempts import OldAttempts, clear_old_attempts

# How much clocks of two processes may differ: what is over for one may not be so for another.
ALLOWED_CLOCK_SKEW = timedelta(hours=1)


class CleanupRequest(NamedTuple):
    """What to clear at once: all before a time, of which at most `limit`."""

    before: Micros
    limit: int


class _Key(NamedTuple):
    """The primary key of a row that is to be cleared."""

    key: Any


class _Oldest(NamedTuple):
    at: Micros | None


def _oldest(key: Column[Any], at: Column[Any], *conditions: ColumnElement[bool]) -> Query[_Key]:
    return Query(
        _Key,
        select(key)
        .where(at < bindparam("before", type_=at.type), *conditions)
        .order_by(at)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True),
        "before",
        "limit",
        "oldest_key_at",
    )


def _deletion(key: Column[Any]) -> Statement:
    return Statement(delete(key.table).where(key.in_(IDS)))


_OLD_KEYS = _oldest(idempotency_keys.c.key, idempotency_keys.c.created_at)
_CLEAR_KEYS = _deletion(idempotency_keys.c.key)
_OLD_OPERATION_KEYS = _oldest(
    operations.c.n, operations.c.created_at, operations.c.key.is_not(None)
)
_CLEAR_OPERATION_KEYS = Statement(
    update(operations).where(operations.c.n.in_(IDS)).values(key=None, fingerprint=None)
)
_OLDEST_KEY = Query(
    _Oldest,
    select(select(func.min(idempotency_keys.c.created_at)).scalar_subquery()).union_all(
        select(
            select(func.min(operations.c.created_at))
            .where(operations.c.key.is_not(None))
            .scalar_subquery()
        )
    ),
)
_OLD_OPERATIONS = _oldest(
    operations.c.n,
    operations.c.modified_at,
    operations.c.done,
    operations.c.key.is_(None),
    or_(
        operations.c.keyed_at.is_(None),
        operations.c.keyed_at < bindparam("oldest_key_at", type_=operations.c.keyed_at.type),
    ),
)
_CLEAR_OPERATIONS = _deletion(operations.c.n)
_CLEARED = Statement(
    update(retention)
    .where(retention.c.name == bindparam("what"), retention.c.value < bindparam("value"))
    .values(value=bindparam("value")),
    "what",
    "value",
)
_ENDED_INVITATIONS = _oldest(customers.c.n, customers.c.ended_at, customers.c.has_links)
_CLEAR_LINKS = _deletion(link_tokens.c.customer)
_WITHOUT_LINKS = Statement(update(customers).where(customers.c.n.in_(IDS)).values(has_links=False))
_EXPIRED_TOKENS = _oldest(revoked_tokens.c.token_hash, revoked_tokens.c.expires_at)
_CLEAR_REVOKED_TOKENS = _deletion(revoked_tokens.c.token_hash)


_OLD_COUNTS = _oldest(counts.c.scope, counts.c.counts_until)
_CLEAR_COUNTS = Statement(
    delete(counts).where(
        counts.c.scope.in_(IDS),
        counts.c.counts_until < bindparam("before", type_=counts.c.counts_until.type),
    ),
    "before",
)


@one_by_one
def clear_keys(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears idempotency keys; see RetentionStorage.clear_idempotency_keys."""
    cleared = len(_clear(transaction, _OLD_OPERATION_KEYS, _CLEAR_OPERATION_KEYS, wanted))
    left = wanted._replace(limit=wanted.limit - cleared)
    return cleared + len(_clear(transaction, _OLD_KEYS, _CLEAR_KEYS, left))


@one_by_one
def clear_operations(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears finished operations; see RetentionStorage.clear_operations.

    An operation that ended before the oldest key came can't have been made by a call whose key is
    still there; and no key that came later stands for it, if `keyed_at` is older than that key too.
    """
    times = [row.at for row in transaction.fetch(_OLDEST_KEY) if row.at is not None]
    oldest_key_at = min(times, default=wanted.before)
    before = Micros(min(wanted.before, oldest_key_at))
    request = CleanupRequest(before, wanted.limit)
    cleared = _clear(
        transaction, _OLD_OPERATIONS, _CLEAR_OPERATIONS, request, oldest_key_at=oldest_key_at
    )
    if cleared:
        transaction.run(_CLEARED, what=CLEARED_OPERATIONS, value=wanted.before)
        transaction.run(_CLEARED, what=CLEARED_NUMBERS, value=max(cleared))
    return len(cleared)


@one_by_one
def clear_links(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears links to ended invitations; see RetentionStorage.clear_links."""
    return len(_clear(transaction, _ENDED_INVITATIONS, _CLEAR_LINKS, wanted, also=_WITHOUT_LINKS))


@one_by_one
def clear_revoked_tokens(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears revocations; see RetentionStorage.clear_revoked_tokens."""
    return len(_clear(transaction, _EXPIRED_TOKENS, _CLEAR_REVOKED_TOKENS, wanted))


@one_by_one
def clear_counts(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears what counts no more; see RetentionStorage.clear_counts."""
    return len(_clear(transaction, _OLD_COUNTS, _CLEAR_COUNTS, wanted))


@one_by_one
def clear_events(transaction: Transaction, wanted: CleanupRequest) -> int:
    """Clears old events; see RetentionStorage.clear_events."""
    cleared = clear_old_events(transaction, wanted.before, wanted.limit)
    if cleared:
        transaction.run(_CLEARED, what=LOGGED_SINCE, value=wanted.before)
    return cleared


def _clear(
    transaction: Transaction,
    find: Query[_Key],
    clear: Statement,
    wanted: CleanupRequest,
    also: Statement | None = None,
    **values: int,
) -> list[Any]:
    """Returns the primary keys of what was cleared."""
    rows = transaction.fetch(find, (), before=wanted.before, limit=wanted.limit, **values)
    keys = [row.key for row in rows]
    if keys:
        transaction.run(clear, keys, before=wanted.before)
        if also:
            transaction.run(also, keys)
    return keys


class SqlRetention:
    """Implements `interface.RetentionStorage`."""

    def __init__(self, sweeps: Batcher, keys: KeyLifetime) -> None:
        self._sweeps = sweeps
        self._keys = keys

    async def expire_invitations(self, now: datetime, limit: int) -> int:
        return await self._sweeps.submit(expire_invitations, Expiry(micros(now), limit))

    async def tell_expiring(self, now: datetime, limit: int) -> int:
        return await self._sweeps.submit(tell_expiring, Expiry(micros(now), limit))

    async def remind_invitees(self, now: datetime, days: tuple[int, ...], limit: int) -> int:
        return await self._sweeps.submit(remind_invitees, Reminding(micros(now), days, limit))

    async def purge_customers(self, now: datetime, limit: int) -> int:
        return await self._sweeps.submit(purge_customers, Purge(micros(now), limit))

    async def clear_idempotency_keys(self, now: datetime, limit: int) -> int:
        unknown_before = micros(now - self._keys.lifetime - ALLOWED_CLOCK_SKEW)
        return await self._sweeps.submit(clear_keys, CleanupRequest(unknown_before, limit))

    async def clear_operations(self, before: datetime, limit: int) -> int:
        return await self._sweeps.submit(clear_operations, CleanupRequest(micros(before), limit))

    async def clear_links(self, before: datetime, limit: int) -> int:
        return await self._sweeps.submit(clear_links, CleanupRequest(micros(before), limit))

    async def clear_revoked_tokens(self, now: datetime, limit: int) -> int:
        expired_before = micros(now - ALLOWED_CLOCK_SKEW)
        return await self._sweeps.submit(
            clear_revoked_tokens, CleanupRequest(expired_before, limit)
        )

    async def clear_counts(self, now: datetime, limit: int) -> int:
        past = micros(now - ALLOWED_CLOCK_SKEW)
        return await self._sweeps.submit(clear_counts, CleanupRequest(past, limit))

    async def clear_events(self, before: datetime, limit: int) -> int:
        return await self._sweeps.submit(clear_events, CleanupRequest(micros(before), limit))

    async def clear_attempts(self, before: datetime, limit: int) -> int:
        return await self._sweeps.submit(clear_old_attempts, OldAttempts(micros(before), limit))
