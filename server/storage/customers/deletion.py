"""Deleting customers, taking that back, and removing them for good."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, or_, select, update

from server.domain.addresses import address_key
from server.domain.customer_changes import (
    address_taken,
    deleted,
    not_deleted,
    require_etag,
)
from server.domain.customers import PURGE_AFTER, Customer, CustomerState
from server.domain.events import EventType
from server.domain.invitations import InvitationState
from server.storage.counts import take_customers_back
from server.storage.customer_rows import InvitationPart, customer, tax_number
from server.storage.customers.update import About, Locked, by_key
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import customer_json, invitation_json
from server.storage.external_ids import ExternalIds
from server.storage.invitations.actions import END_INVITATION, MAKE_DUE_NOW
from server.storage.invitations.addresses import ended_slot
from server.storage.invitations.correct import is_mail_waiting
from server.storage.invitations.expire import expire_by_number
from server.storage.keys import KeyedRequest, Keys, answer_each
from server.storage.operations.rows import OPERATION_PART, WITH_CUSTOMERS, OperationPart, operation
from server.storage.operations.transitions import keep_ids
from server.storage.resellers import reseller_id
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    CUSTOMER_TARGET,
    INVITATION_STATE_CODES,
    PENDING,
)
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    CustomerRow,
    Email,
    OperationNumber,
    PersonJson,
    ResellerNumber,
    customers,
    link_tokens,
    operations,
    reminders,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, from_micros, micros

_REVOKED = INVITATION_STATE_CODES[InvitationState.REVOKED]
_INACTIVE = CUSTOMER_STATE_CODES[CustomerState.INACTIVE]
_BY_NUMBER = Query(CustomerRow, select(*customers.c).where(customers.c.n.in_(IDS)))
_MARK = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(deleted_at=bindparam("deleted_at"), modified_at=bindparam("modified_at")),
    "deleted_at",
    "modified_at",
)


class _Since(NamedTuple):
    """Who was invited at an address since a time, and is not inactive."""

    id: CustomerId
    reseller: ResellerNumber
    email: Email
    person: PersonJson


_INVITED_SINCE = Query(
    _Since,
    select(*columns(customers, _Since)).where(
        customers.c.address_key.in_(IDS),
        customers.c.created_at >= bindparam("since"),
        customers.c.deleted_at.is_(None),
        customers.c.state != _INACTIVE,
    ),
    "since",
)


class Deletion(NamedTuple):
    """A customer to delete; one that is deleted already is no fault with `allow_missing`."""

    allow_missing: bool
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


def delete_customers(
    transaction: Transaction, batch: Sequence[Deletion]
) -> list[Customer | Exception | None]:
    """Deletes customers; see CustomerStorage.delete_customer."""
    locked = Locked(transaction, (request.about for request in batch))
    keys = Keys(transaction, [request.use for request in batch])

    def delete_(request: Deletion) -> Customer | None:
        about = request.about
        row = locked.find(about)
        if row is None:
            return None
        before = customer(transaction, row)
        if before.deleted_at:
            return before if request.allow_missing else None
        require_etag(before, about.etag)
        row = cancel_invitation(transaction, row, about)
        after = deleted(customer(transaction, row), from_micros(about.now))
        row = _mark(transaction, row, micros(after.modified_at), is_deleted=True)
        _log(transaction, EventType.CUSTOMER_DELETED, row, about)
        locked.has_changed(row)
        keys.changed(about.use, CUSTOMER_TARGET, row.n)
        return after

    outcomes = answer_each(batch, keys, lambda _, target: by_key(transaction, target), delete_)
    keys.write()
    return outcomes


def undelete_customers(
    transaction: Transaction, batch: Sequence[About]
) -> list[Customer | Exception | None]:
    """Takes deletions back; see CustomerStorage.undelete_customer."""
    locked = Locked(transaction, batch)
    keys = Keys(transaction, [about.use for about in batch])

    def undelete(about: About) -> Customer | None:
        row = locked.find(about)
        if row is None:
            return None
        before = customer(transaction, row)
        if row.deleted_at is None:
            raise not_deleted(before)
        require_etag(before, about.etag)
        ExternalIds(transaction, [before]).require_free(before)
        _require_free_address(transaction, row, row.deleted_at, before.reseller_id)
        at = max(about.now, Micros(row.modified_at + 1))
        row = _mark(transaction, row, at, is_deleted=False)
        _log(transaction, EventType.CUSTOMER_UNDELETED, row, about)
        locked.has_changed(row)
        keys.changed(about.use, CUSTOMER_TARGET, row.n)
        return customer(transaction, row)

    outcomes = answer_each(batch, keys, lambda _, target: by_key(transaction, target), undelete)
    keys.write()
    return outcomes


def cancel_invitation(transaction: Transaction, row: CustomerRow, about: About) -> CustomerRow:
    """Revokes a pending invitation; one that has lapsed expires. Raises MAIL_UNDER_WAY."""
    if row.invitation != PENDING or row.latest is None:
        return row
    if (row.expires_at or 0) <= about.now:
        expire_by_number(transaction, [row.n], about.now)
        return transaction.fetch(_BY_NUMBER, [row.n])[0]
    waits = is_mail_waiting(transaction, row.latest)
    at = max(about.now, row.created_at)
    row = row._replace(
        invitation=_REVOKED,
        ended_at=at,
        slot=ended_slot(row.n),
        state=_INACTIVE,
        modified_at=max(at, Micros(row.modified_at + 1)),
    )
    transaction.run(
        END_INVITATION,
        [row.n],
        at=at,
        **{name: getattr(row, name) for name in ("invitation", "slot", "state", "modified_at")},
    )
    if waits and transaction.fetch(MAKE_DUE_NOW, [row.latest], at=at):
        transaction.has_work = True
    shown = InvitationPart(**{name: getattr(row, name) for name in InvitationPart._fields})
    event = NewEvent(
        *(row.reseller, EventType.INVITATION_REVOKED, at, about.actor),
        *(invitation_json(shown), row.n),
    )
    log(transaction, event)
    return row


def _mark(
    transaction: Transaction, row: CustomerRow, at: Micros, *, is_deleted: bool
) -> CustomerRow:
    row = row._replace(deleted_at=at if is_deleted else None, modified_at=at)
    transaction.run(_MARK, [row.n], deleted_at=row.deleted_at, modified_at=at)
    return row


def _log(transaction: Transaction, type_: EventType, row: CustomerRow, about: About) -> None:
    event = NewEvent(
        *(row.reseller, type_, row.modified_at, about.actor), *(customer_json(row), row.n)
    )
    log(transaction, event)


def _require_free_address(
    transaction: Transaction, row: CustomerRow, since: Micros, owner: str
) -> None:
    """Raises ADDRESS_TAKEN if another customer has been invited at the address since."""
    if row.address_key is None or not row.email:
        return
    mine = row.reseller, address_key(row.email), tax_number(row.person)
    for other in transaction.fetch(_INVITED_SINCE, [row.address_key], since=since):
        if (other.reseller, address_key(other.email), tax_number(other.person)) == mine:
            raise address_taken(owner, other.id)


class _Purged(NamedTuple):
    n: CustomerNumber
    reseller: ResellerNumber


_PURGEABLE = Query(
    _Purged,
    select(customers.c.n, customers.c.reseller)
    .where(customers.c.deleted_at < bindparam("before"))
    .order_by(customers.c.deleted_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "before",
    "limit",
)
_THEIR_OPERATIONS = Query(
    OperationPart,
    select(*OPERATION_PART)
    .select_from(WITH_CUSTOMERS)
    .where(
        or_(
            operations.c.n.in_(IDS),
            operations.c.customer.in_(IDS) & operations.c.id.is_not(None),
        )
    )
    .with_for_update(of=operations),
)
_PURGE = Statement(delete(customers).where(customers.c.n.in_(IDS)))
_PURGE_REMINDERS = Statement(delete(reminders).where(reminders.c.n.in_(IDS)))
_PURGE_LINKS = Statement(delete(link_tokens).where(link_tokens.c.customer.in_(IDS)))


class Purge(NamedTuple):
    """How many customers to remove at once, of those that may be removed by now."""

    now: Micros
    limit: int


def purge_customers(transaction: Transaction, batch: Sequence[Purge]) -> list[int]:
    """Removes deleted customers; see RetentionStorage.purge_customers."""
    return [_purge(transaction, each) for each in batch]


def _purge(transaction: Transaction, wanted: Purge) -> int:
    before = micros(from_micros(wanted.now) - PURGE_AFTER)
    rows = transaction.fetch(_PURGEABLE, before=before, limit=wanted.limit)
    if not rows:
        return 0
    numbers: list[Any] = [row.n for row in rows]
    found = transaction.fetch(_THEIR_OPERATIONS, numbers)
    # Operations that are kept for longer go on naming their customer.
    keep_ids(transaction, [(OperationNumber(row.n), operation(transaction, row)) for row in found])
    transaction.run(_PURGE, numbers)
    transaction.run(_PURGE_LINKS, numbers)
    transaction.run(_PURGE_REMINDERS, numbers)
    take_customers_back(transaction, [reseller_id(transaction, row.reseller) for row in rows])
    return len(rows)
