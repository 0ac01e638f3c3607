"""Clearing what is old, a batch at a time, oldest first, by an index.

Rows that another transaction holds are left for the next time. Several processes may clear at
once: each takes other rows.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, bindparam, delete, func, or_, select, update

from server.storage import expiry
from server.storage.batches import Batcher
from server.storage.rows import microseconds
from server.storage.schema import (
    counts,
    idempotency_keys,
    invitations,
    link_tokens,
    operations,
    revoked_tokens,
)
from server.storage.schema import retention as table
from server.storage.statements import IDS, Statement, Transaction

# What one process takes for over may not be so for another, by less than this.
_CLOCKS_DIFFER = timedelta(hours=1)


class Clearing(NamedTuple):
    """What to clear at once: all before a time, of which at most `limit`."""

    before: int
    limit: int


def _oldest(id_: Column[Any], at: Column[Any], *conditions: ColumnElement[bool]) -> Statement:
    return Statement(
        select(id_)
        .where(at < bindparam("before", type_=at.type), *conditions)
        .order_by(at)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True),
        "before",
        "limit",
        "oldest_key_at",
    )


def _deletion(id_: Column[Any]) -> Statement:
    return Statement(delete(id_.table).where(id_.in_(IDS)))


_OLD_KEYS = _oldest(idempotency_keys.c.key, idempotency_keys.c.created_at)
_CLEAR_KEYS = _deletion(idempotency_keys.c.key)
_OLDEST_KEY = Statement(select(func.min(idempotency_keys.c.created_at)))
_OLD_OPERATIONS = _oldest(
    operations.c.id,
    operations.c.modified_at,
    operations.c.done,
    or_(
        operations.c.keyed_at.is_(None),
        operations.c.keyed_at < bindparam("oldest_key_at", type_=operations.c.keyed_at.type),
    ),
)
_CLEAR_OPERATIONS = _deletion(operations.c.id)
_CLEARED = Statement(
    update(table)
    .where(table.c.name == operations.name, table.c.cleared_before < bindparam("before"))
    .values(cleared_before=bindparam("before")),
    "before",
)
_ENDED_INVITATIONS = _oldest(invitations.c.id, invitations.c.ended_at, invitations.c.linked)
_CLEAR_LINKS = _deletion(link_tokens.c.invitation_id)
_UNLINK = Statement(update(invitations).where(invitations.c.id.in_(IDS)).values(linked=False))
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


def _one_by_one(
    clear: Callable[[Transaction, Clearing], int],
) -> Callable[[Transaction, Sequence[Clearing]], list[int]]:
    return lambda transaction, batch: [clear(transaction, wanted) for wanted in batch]


@_one_by_one
def clear_keys(transaction: Transaction, wanted: Clearing) -> int:
    """Clears idempotency keys; see Storage.clear_idempotency_keys."""
    return _clear(transaction, _OLD_KEYS, _CLEAR_KEYS, wanted)


@_one_by_one
def clear_operations(transaction: Transaction, wanted: Clearing) -> int:
    """Clears finished operations; see Storage.clear_operations.

    What ended before the oldest key was made, and has been given no key since, has none.
    """
    ((oldest_key_at,),) = transaction.fetch(_OLDEST_KEY)
    if oldest_key_at is None:
        oldest_key_at = wanted.before
    before = min(wanted.before, oldest_key_at)
    cleared = _clear(
        *(transaction, _OLD_OPERATIONS, _CLEAR_OPERATIONS),
        Clearing(before, wanted.limit),
        oldest_key_at=oldest_key_at,
    )
    if cleared:
        transaction.run(_CLEARED, before=wanted.before)
    return cleared


@_one_by_one
def clear_links(transaction: Transaction, wanted: Clearing) -> int:
    """Clears links to ended invitations; see Storage.clear_links."""
    return _clear(transaction, _ENDED_INVITATIONS, _CLEAR_LINKS, wanted, also=_UNLINK)


@_one_by_one
def clear_revoked_tokens(transaction: Transaction, wanted: Clearing) -> int:
    """Clears revocations; see Storage.clear_revoked_tokens."""
    return _clear(transaction, _EXPIRED_TOKENS, _CLEAR_REVOKED_TOKENS, wanted)


@_one_by_one
def clear_counts(transaction: Transaction, wanted: Clearing) -> int:
    """Clears what counts no more; see Storage.clear_counts."""
    return _clear(transaction, _OLD_COUNTS, _CLEAR_COUNTS, wanted)


def _clear(
    transaction: Transaction,
    find: Statement,
    clear: Statement,
    wanted: Clearing,
    also: Statement | None = None,
    **values: int,
) -> int:
    rows = transaction.fetch(find, (), before=wanted.before, limit=wanted.limit, **values)
    ids = [id_ for (id_,) in rows]
    if ids:
        transaction.run(clear, ids, before=wanted.before)
        if also:
            transaction.run(also, ids)
    return len(ids)


class SqlRetention:
    """The part of the storage that records what has expired and clears what is old."""

    _sweeps: Batcher
    _lifetime: timedelta

    async def expire_invitations(self, now: datetime, limit: int) -> int:
        return await self._sweeps.submit(expiry.expire, expiry.Expiry(microseconds(now), limit))

    async def clear_idempotency_keys(self, now: datetime, limit: int) -> int:
        unknown = Clearing(microseconds(now - self._lifetime - _CLOCKS_DIFFER), limit)
        return await self._sweeps.submit(clear_keys, unknown)

    async def clear_operations(self, before: datetime, limit: int) -> int:
        clearing = Clearing(microseconds(before), limit)
        return await self._sweeps.submit(clear_operations, clearing)

    async def clear_links(self, before: datetime, limit: int) -> int:
        clearing = Clearing(microseconds(before), limit)
        return await self._sweeps.submit(clear_links, clearing)

    async def clear_revoked_tokens(self, now: datetime, limit: int) -> int:
        expired = Clearing(microseconds(now - _CLOCKS_DIFFER), limit)
        return await self._sweeps.submit(clear_revoked_tokens, expired)

    async def clear_counts(self, now: datetime, limit: int) -> int:
        past = Clearing(microseconds(now - _CLOCKS_DIFFER), limit)
        return await self._sweeps.submit(clear_counts, past)
