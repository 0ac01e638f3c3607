"""Finding invitations by an address or an ID, whichever reseller's they are."""

from typing import NamedTuple

from sqlalchemy import or_, select

from server.domain import ids
from server.domain.addresses import address_key
from server.domain.suppressions import SuppressionReason
from server.storage.count_rules import address_scope
from server.storage.customer_rows import INVITATION_PART, InvitationPart, invitation
from server.storage.interface.operators import Found, FoundInvitation
from server.storage.invitations.addresses import address_hash
from server.storage.invitations.read import get_unsent
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import NO_INVITATION, SUPPRESSION_REASONS, SuppressionReasonCode
from server.storage.schema.tables import (
    CustomerNumber,
    DisplayName,
    customers,
    operations,
    resellers,
    suppressions,
)
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.transactions import one_by_one

_MAX_FOUND = 100


class _Named(NamedTuple):
    n: CustomerNumber
    name: DisplayName
    is_held: bool


class _Number(NamedTuple):
    n: CustomerNumber


class _Suppressed(NamedTuple):
    reason: SuppressionReasonCode


_c = customers.c
_is_invited = _c.invitation != NO_INVITATION
_newest = select(*INVITATION_PART).order_by(_c.n.desc())
_AT_ADDRESS = Query(InvitationPart, _newest.where(_c.address_key.in_(IDS)))
_BY_NUMBER = Query(InvitationPart, _newest.where(_c.n.in_(IDS), _is_invited))
_NUMBERS = Query(
    _Number,
    select(_c.n).where(
        or_(_c.id.in_(IDS), _c.invitation_id.in_(IDS), _c.billing_account_id.in_(IDS))
    ),
)
_OF_OPERATIONS = Query(_Number, select(operations.c.customer).where(operations.c.id.in_(IDS)))
_NAMES = Query(
    _Named,
    select(_c.n, _c.name, IS_HELD)
    .join_from(customers, resellers, resellers.c.n == _c.reseller)
    .where(_c.n.in_(IDS)),
)
_SUPPRESSED = Query(_Suppressed, select(suppressions.c.reason).where(suppressions.c.scope.in_(IDS)))
# Kinds of IDs that end like the customer's.
_RELATED = (ids.CUSTOMER, ids.INVITATION, ids.OPERATION, ids.BILLING_ACCOUNT)


class Search(NamedTuple):
    """What to look for: an address in normal form, or an ID."""

    email: str = ""
    id: str = ""


@one_by_one
def search(transaction: Transaction, wanted: Search) -> Found:
    """Finds invitations; see OperatorStorage.find_by_address and find_by_id."""
    rows = (
        _by_address(transaction, wanted.email) if wanted.email else _by_id(transaction, wanted.id)
    )
    numbers = [row.n for row in rows]
    names = {each.n: each for each in (transaction.fetch(_NAMES, numbers) if numbers else [])}
    unsent = get_unsent(transaction, [row.public_id for row in rows]) if rows else []
    found = []
    for row, delivery in zip(rows, unsent, strict=True):
        one = invitation(transaction, row)
        one = one._replace(delivery=delivery or one.delivery)
        found.append(FoundInvitation(one, names[row.n].name, bool(names[row.n].is_held)))
    email = wanted.email or (rows[0].email if rows else "")
    return Found(found, _suppressed(transaction, email) if email else None)


@one_by_one
def is_known(transaction: Transaction, id_: str) -> bool:
    """Tells whether there is anything that `search` takes the ID of."""
    return bool(_numbers(transaction, id_))


def _by_address(transaction: Transaction, email: str) -> list[InvitationPart]:
    key = address_key(email)
    rows = transaction.fetch(_AT_ADDRESS, [address_hash(key)])
    return [row for row in rows if address_key(row.email) == key][:_MAX_FOUND]


def _by_id(transaction: Transaction, id_: str) -> list[InvitationPart]:
    numbers = _numbers(transaction, id_)
    return transaction.fetch(_BY_NUMBER, sorted(numbers)) if numbers else []


def _numbers(transaction: Transaction, id_: str) -> set[CustomerNumber]:
    related = [ids.CUSTOMER + id_[3:]] if id_.startswith(_RELATED) else []
    numbers = {row.n for row in transaction.fetch(_NUMBERS, [id_, *related])}
    return numbers | {row.n for row in transaction.fetch(_OF_OPERATIONS, [id_])}


def _suppressed(transaction: Transaction, email: str) -> SuppressionReason | None:
    rows = transaction.fetch(_SUPPRESSED, [address_scope(address_key(email))])
    return SUPPRESSION_REASONS[rows[0].reason] if rows else None
