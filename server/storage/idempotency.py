"""Idempotency keys: what a repeated request made or changed before."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from server.domain.errors import BillingError, Reason
from server.storage.interface import IdempotencyKey
from server.storage.schema import idempotency_keys as table
from server.storage.schema import operations
from server.storage.statements import IDS, Insert, Statement, Transaction

_KNOWN = Statement(
    select(table.c.key, table.c.fingerprint, table.c.target_id, table.c.created_at).where(
        table.c.key.in_(IDS)
    )
)
_FORGET = Statement(delete(table).where(table.c.key.in_(IDS)))
_RECORD = Insert(table)
_KEYED = Statement(
    update(operations).where(operations.c.id.in_(IDS)).values(keyed_at=bindparam("now")), "now"
)


class KeyUse(NamedTuple):
    """A key as it came with a request at `now`; what is older than `since` counts as unknown."""

    key: IdempotencyKey
    now: int
    since: int


class Keys:
    """The keys that came with one batch."""

    def __init__(self, transaction: Transaction, uses: Iterable[KeyUse | None]) -> None:
        self._transaction = transaction
        self._known: dict[bytes, tuple[bytes, str]] = {}
        self._new: list[tuple[Any, ...]] = []
        wanted = {use.key.key: use for use in uses if use}
        if not wanted:
            return
        expired = []
        for key, fingerprint, target_id, created_at in transaction.fetch(_KNOWN, list(wanted)):
            if created_at < wanted[key].since:
                expired.append(key)
            else:
                self._known[key] = fingerprint, target_id
        if expired:
            transaction.run(_FORGET, expired)

    def replayed(self, use: KeyUse | None) -> str | None:
        """Returns the ID of what the key stands for, if it was seen before.

        Raises IDEMPOTENCY_KEY_REUSED when that was for another request.
        """
        if not use or not self._known:
            return None
        known = self._known.get(use.key.key)
        if known is None:
            return None
        fingerprint, target_id = known
        if fingerprint != use.key.fingerprint:
            raise BillingError(
                Reason.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key came with another request before; take a new key for a new "
                "request.",
            )
        return target_id

    def record(self, use: KeyUse | None, target_id: str) -> None:
        """Makes the key stand for the operation or invitation; a refused request must not come here."""
        if use:
            key, fingerprint = use.key.key, use.key.fingerprint
            self._known[key] = fingerprint, target_id
            self._new.append((key, fingerprint, target_id, use.now))

    def record_later(self, use: KeyUse | None, operation_id: str) -> None:
        """Makes the key stand for an operation that was there before it, and is kept for it."""
        if use:
            self.record(use, operation_id)
            self._transaction.run(_KEYED, [operation_id], now=use.now)

    def write(self) -> None:
        """Writes what was recorded."""
        self._new.sort()  # in one order, so that two batches don't wait for each other
        self._transaction.insert(_RECORD, self._new)
