"""Resellers: their numbers inside the storage, and whether they are held."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import or_, select

from server.domain.access import ResellerState
from server.storage.schema.tables import ResellerId, ResellerNumber, resellers
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.times import Micros

# Whether a reseller is not active; see `reseller_state`.
IS_HELD = or_(resellers.c.suspended_at.is_not(None), resellers.c.removed_at.is_not(None))


class _Reseller(NamedTuple):
    n: ResellerNumber
    id: ResellerId


_RESELLERS_BY_ID = Query(
    _Reseller, select(resellers.c.n, resellers.c.id).where(resellers.c.id.in_(IDS))
)
_RESELLERS_BY_NUMBER = Query(
    _Reseller, select(resellers.c.n, resellers.c.id).where(resellers.c.n.in_(IDS))
)


def reseller_state(suspended_at: Micros | None, removed_at: Micros | None) -> ResellerState:
    """Returns what a row of `resellers` says."""
    if removed_at is not None:
        return ResellerState.REMOVED
    return ResellerState.ACTIVE if suspended_at is None else ResellerState.SUSPENDED


def reseller_number(transaction: Transaction, reseller_id: str) -> ResellerNumber | None:
    """Returns the number of a reseller, also of a removed one; None: there never was one."""
    number = transaction.resellers.number(reseller_id)
    if number is None:
        for row in transaction.fetch(_RESELLERS_BY_ID, [reseller_id]):
            number = row.n
            transaction.resellers.add(row.id, row.n)
    return None if number is None else ResellerNumber(number)


def reseller_numbers(transaction: Transaction, reseller_ids: Sequence[str]) -> list[ResellerNumber]:
    """Returns the numbers of those that there ever were."""
    known = transaction.resellers.number
    missing = [id_ for id_ in reseller_ids if known(id_) is None]
    if missing:
        for row in transaction.fetch(_RESELLERS_BY_ID, missing):
            transaction.resellers.add(row.id, row.n)
    found = (known(id_) for id_ in reseller_ids)
    return [ResellerNumber(number) for number in found if number is not None]


def require_reseller(transaction: Transaction, reseller_id: str) -> ResellerNumber:
    """Returns the number of a reseller; raises LookupError if there never was one."""
    number = reseller_number(transaction, reseller_id)
    if number is None:
        raise LookupError("a row is to be made for a reseller that is not there")
    return number


def reseller_ids(transaction: Transaction, rows: Iterable[ResellerNumber]) -> None:
    """Makes sure that `reseller_id` knows these."""
    known = transaction.resellers.id
    missing = {number for number in rows if known(number) is None}
    if missing:
        for row in transaction.fetch(_RESELLERS_BY_NUMBER, list(missing)):
            transaction.resellers.add(row.id, row.n)


def reseller_id(transaction: Transaction, number: ResellerNumber) -> str:
    """Returns the ID of a reseller that a row names."""
    id_ = transaction.resellers.id(number)
    if id_ is None:
        reseller_ids(transaction, [number])
        id_ = transaction.resellers.id(number)
    return id_ or ""
