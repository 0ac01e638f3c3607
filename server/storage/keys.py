"""Idempotency keys: what a repeated request made or changed before.

The key of a call that makes an operation is a part of the operation's row; those of other calls have
a table of their own. A key stands for one thing, whichever of the two it is in.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import BigInteger, bindparam, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from server.domain.errors import BillingError, Reason
from server.storage.interface.keys import IdempotencyKey
from server.storage.schema.codes import OPERATION_TARGET, TargetCode
from server.storage.schema.tables import (
    Fingerprint,
    IdempotencyKeyHash,
    IdempotencyKeyRow,
    OperationNumber,
    TargetNumber,
    idempotency_keys,
    operations,
)
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import MICROSECOND, Micros, micros


class _Locked(NamedTuple):
    nothing: None


# Two transactions with one key, of which one makes an operation and the other does not, would not
# meet in any index. What is locked is let go when the transaction ends.
_LOCK = Query(
    _Locked,
    select(func.pg_advisory_xact_lock(func.unnest(bindparam("locks", type_=ARRAY(BigInteger))))),
    "locks",
)
_KNOWN = Query(
    IdempotencyKeyRow,
    select(
        operations.c.key,
        operations.c.fingerprint,
        literal(OPERATION_TARGET, literal_execute=True),
        operations.c.n,
        operations.c.created_at,
    )
    .where(operations.c.key.in_(IDS))
    .union_all(select(*idempotency_keys.c).where(idempotency_keys.c.key.in_(IDS))),
)
_FORGET = (
    Statement(
        update(operations).where(operations.c.key.in_(IDS)).values(key=None, fingerprint=None)
    ),
    Statement(delete(idempotency_keys).where(idempotency_keys.c.key.in_(IDS))),
)
_RECORD = Insert(idempotency_keys, IdempotencyKeyRow)
_KEYED = Statement(
    update(operations).where(operations.c.n.in_(IDS)).values(keyed_at=bindparam("now")), "now"
)


class KeyedRequest(NamedTuple):
    """A key as it came with a request at `now`; what is older than `since` counts as unknown."""

    key: IdempotencyKey
    now: Micros
    since: Micros


class KeyLifetime:
    """How long keys count."""

    def __init__(self, lifetime: timedelta) -> None:
        self.lifetime = lifetime
        self._lifetime_us = lifetime // MICROSECOND

    def keyed(self, key: IdempotencyKey | None, now: datetime) -> KeyedRequest | None:
        """Returns a key, if any, as it comes with a request at a time."""
        if key is None:
            return None
        at = micros(now)
        return KeyedRequest(key, at, Micros(at - self._lifetime_us))


class Request(Protocol):
    """What a batch handler gets for one caller."""

    @property
    def use(self) -> KeyedRequest | None:
        """The key that came with it."""
        ...


class Target(NamedTuple):
    """What a key stands for: an operation, a customer's invitation, a webhook, or a test's event."""

    kind: TargetCode
    number: int


RequestT = TypeVar("RequestT", bound=Request)
OutcomeT = TypeVar("OutcomeT")


class Keys:
    """The keys that came with one batch."""

    def __init__(self, transaction: Transaction, uses: Iterable[KeyedRequest | None]) -> None:
        self._transaction = transaction
        self._known: dict[bytes, tuple[bytes, Target]] = {}
        self._new: list[IdempotencyKeyRow] = []
        wanted = {use.key.key: use for use in uses if use}
        if not wanted:
            return
        if not transaction.is_sqlite:
            # In one order, so that two batches don't wait for each other.
            locks = sorted(int.from_bytes(key[:8], signed=True) for key in wanted)
            transaction.fetch(_LOCK, locks=locks)
        expired = []
        for row in transaction.fetch(_KNOWN, list(wanted)):
            if row.created_at < wanted[row.key].since:
                expired.append(row.key)
            else:
                self._known[row.key] = row.fingerprint, Target(row.target_kind, row.target)
        if expired:
            for forget in _FORGET:
                transaction.run(forget, expired)

    def existing(self, use: KeyedRequest | None) -> Target | None:
        """Returns what the key stands for, if it was seen before.

        Raises IDEMPOTENCY_KEY_REUSED when that was for another request.
        """
        if not use or not self._known:
            return None
        known = self._known.get(use.key.key)
        if known is None:
            return None
        fingerprint, target = known
        if fingerprint != use.key.fingerprint:
            raise BillingError(
                Reason.IDEMPOTENCY_KEY_REUSED,
                "This Idempotency-Key came with another request before; take a new key for a new "
                "request.",
            )
        return target

    def made(
        self, use: KeyedRequest | None, number: OperationNumber
    ) -> tuple[IdempotencyKeyHash | None, Fingerprint | None]:
        """Makes the key stand for a new operation; returns what its row holds of it."""
        if not use:
            return None, None
        key, fingerprint = use.key
        self._known[key] = fingerprint, Target(OPERATION_TARGET, number)
        return IdempotencyKeyHash(key), Fingerprint(fingerprint)

    def changed(self, use: KeyedRequest | None, kind: TargetCode, number: int) -> None:
        """Makes the key stand for what the request changed; a refused one must not come here.

        An operation is kept as long as a key stands for it that did not make it.
        """
        if use:
            key, fingerprint = IdempotencyKeyHash(use.key.key), Fingerprint(use.key.fingerprint)
            self._known[key] = fingerprint, Target(kind, number)
            row = IdempotencyKeyRow(key, fingerprint, kind, TargetNumber(number), use.now)
            self._new.append(row)
            if kind == OPERATION_TARGET:
                self._transaction.run(_KEYED, [number], now=use.now)

    def write(self) -> None:
        """Writes what was changed."""
        self._new.sort()  # in one order, so that two batches don't wait for each other
        self._transaction.insert(_RECORD, self._new)


def answer_each(
    batch: Sequence[RequestT],
    keys: Keys,
    existing: Callable[[RequestT, Target], OutcomeT],
    act: Callable[[RequestT], OutcomeT],
) -> list[OutcomeT | Exception]:
    """Answers each request: by what its key stands for, or by what `act` does; refusals are outcomes.

    `act` must refuse before it changes anything.
    """
    outcomes: list[OutcomeT | Exception] = []
    for request in batch:
        try:
            target = keys.existing(request.use)
            outcomes.append(act(request) if target is None else existing(request, target))
        except BillingError as error:
            outcomes.append(error)
    return outcomes
