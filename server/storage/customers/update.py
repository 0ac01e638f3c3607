"""Changing customers."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.customer_changes import (
    CustomerChanges,
    changed,
    require_etag,
    require_living,
    require_not_erased,
)
from server.domain.customers import Customer
from server.domain.events import EventType
from server.storage.customer_rows import (
    customer,
    external_id_or_none,
    labels_json,
    person_json,
    tax_number,
)
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import customer_json
from server.storage.external_ids import ExternalIds
from server.storage.invitations.addresses import open_slot
from server.storage.invitations.create import free_slot
from server.storage.invitations.expire import expire_by_number
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.resellers import reseller_id, reseller_number
from server.storage.schema.codes import CUSTOMER_TARGET, PENDING
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DisplayName,
    customers,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros, micros

_LOCK = Query(
    CustomerRow,
    select(*customers.c)
    .where(customers.c.id.in_(IDS))
    .order_by(customers.c.n)  # in one order, so that two batches don't wait for each other
    .with_for_update(),
)
_BY_NUMBER = Query(CustomerRow, select(*customers.c).where(customers.c.n.in_(IDS)))
_LOCK_BY_NUMBER = Query(
    CustomerRow, select(*customers.c).where(customers.c.n.in_(IDS)).with_for_update()
)
_CHANGED = ("name", "person", "external_id", "labels", "slot", "modified_at")
_CHANGE = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values({name: bindparam(name) for name in _CHANGED}),
    *_CHANGED,
)


class About(NamedTuple):
    """Which customer a request is about, in which version if that matters; who sends it, and when."""

    reseller_id: str
    customer_id: str
    etag: str
    now: Micros
    actor: Actor
    use: KeyedRequest | None


class Update(NamedTuple):
    """What to set of a customer."""

    changes: CustomerChanges
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


class Locked:
    """The customers of one batch, locked."""

    def __init__(self, transaction: Transaction, batch: Iterable[About]) -> None:
        self._transaction = transaction
        wanted = list(dict.fromkeys(each.customer_id for each in batch))
        self._rows = {row.id: row for row in transaction.fetch(_LOCK, wanted)}

    def find(self, about: About) -> CustomerRow | None:
        """Returns the row as it is now, if the reseller has such a customer."""
        row = self._rows.get(CustomerId(about.customer_id))
        reseller = reseller_number(self._transaction, about.reseller_id)
        return row if row and row.reseller == reseller else None

    def has_changed(self, row: CustomerRow) -> None:
        """Keeps the row as it is now for the requests that come after."""
        self._rows[row.id] = row


def lock_by_number(transaction: Transaction, number: CustomerNumber) -> list[CustomerRow]:
    """Returns the row of a customer, which nobody else changes from then on; empty: there is none."""
    return transaction.fetch(_LOCK_BY_NUMBER, [number])


def by_key(transaction: Transaction, target: Target) -> Customer | None:
    """Returns the customer that a key stands for; None once it is gone."""
    rows = transaction.fetch(_BY_NUMBER, [target.number])
    return customer(transaction, rows[0]) if rows else None


def update_customers(
    transaction: Transaction, batch: Sequence[Update]
) -> list[Customer | Exception | None]:
    """Changes customers; see CustomerStorage.update_customer."""
    locked = Locked(transaction, (request.about for request in batch))
    keys = Keys(transaction, [request.use for request in batch])

    def change(request: Update) -> Customer | None:
        about = request.about
        row = locked.find(about)
        if row is None:
            return None
        before = customer(transaction, row)
        require_etag(before, about.etag)
        require_living(before)
        require_not_erased(before)
        after = changed(before, request.changes, from_micros(about.now))
        if after is not before:
            ExternalIds(transaction, [after]).require_free(after)
            row = _write(transaction, row, after, about.now)
            locked.has_changed(row)
            event = NewEvent(
                *(row.reseller, EventType.CUSTOMER_UPDATED, row.modified_at, about.actor),
                *(customer_json(row), row.n),
            )
            log(transaction, event)
        keys.changed(about.use, CUSTOMER_TARGET, row.n)
        return customer(transaction, row)

    outcomes = answer_each(batch, keys, lambda _, target: by_key(transaction, target), change)
    keys.write()
    return outcomes


def _write(transaction: Transaction, row: CustomerRow, after: Customer, now: Micros) -> CustomerRow:
    """Writes a changed customer; returns its row. Raises INVITATION_OPEN."""
    person = person_json(after.person)
    if row.invitation == PENDING and tax_number(person) != tax_number(row.person):
        row = _move(transaction, row, after.person.get("tin", ""), now)
    row = row._replace(
        name=DisplayName(after.name),
        person=person,
        external_id=external_id_or_none(after.external_id),
        labels=labels_json(after.labels),
        modified_at=max(micros(after.modified_at), Micros(row.modified_at + 1)),
    )
    transaction.run(_CHANGE, [row.n], **{name: getattr(row, name) for name in _CHANGED})
    return row


def _move(transaction: Transaction, row: CustomerRow, tin: str, now: Micros) -> CustomerRow:
    """Gives an open invitation the slot of another tax number; one that has lapsed expires.

    Raises INVITATION_OPEN if another one is open for that.
    """
    if row.address_key is None or (row.expires_at or 0) <= now:
        expire_by_number(transaction, [row.n], now)
        return transaction.fetch(_BY_NUMBER, [row.n])[0]
    slot = open_slot(reseller_id(transaction, row.reseller), tin)
    place = row.address_key, slot
    free = free_slot(transaction, row, address_key(row.email or ""), place, tin, now)
    return row._replace(slot=free)
