"""Recording invitations.

Longer than others: what makes one the only one of its kind is looked at in many places.
"""

import operator
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from server.domain import ids
from server.domain.addresses import address_key
from server.domain.errors import BillingError, Reason
from server.domain.events import EventType
from server.domain.invitations import NewInvitation
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage import numbers, resellers
from server.storage.counts import Counts
from server.storage.customer_rows import (
    InvitationPart,
    external_id_or_none,
    labels_json,
    person_json,
    tax_number,
)
from server.storage.events.log import DERIVED, NewEvent, log
from server.storage.events.rows import customer_json
from server.storage.external_ids import ExternalIds
from server.storage.invitation_options import options_json
from server.storage.invitations.addresses import DISPLACED, next_slot
from server.storage.invitations.expire import expire_by_number
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.operations.read import by_number
from server.storage.operations.rows import INSERT_MAKING, operation_row
from server.storage.reseller_details import require_listed
from server.storage.schema.codes import CUSTOMER_STATE_CODES, INVITATION_STATE_CODES, LINK_ONLY
from server.storage.schema.tables import (
    AddressKey,
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DisplayName,
    Email,
    InvitationId,
    OperationId,
    OperationNumber,
    OperationRow,
    PersonJson,
    ResellerNumber,
    Slot,
    customers,
)
from server.storage.sql.statements import IDS, Insert, PairQuery, Query, Transaction, columns
from server.storage.sql.times import Micros, micros


class _Open(NamedTuple):
    """An open invitation, and what makes it the only one."""

    n: CustomerNumber
    address_key: AddressKey
    slot: Slot
    reseller: ResellerNumber
    email: Email
    person: PersonJson
    id: CustomerId
    expires_at: Micros
    invitation_id: InvitationId | None
    operation_id: OperationId | None


# Open invitations in the slots that new ones would take first; an address may have thousands more.
_OPEN = PairQuery(_Open, customers, "address_key", "slot")
_DISPLACED = Query(
    _Open,
    select(*columns(customers, _Open)).where(
        customers.c.address_key.in_(IDS), customers.c.slot >= DISPLACED
    ),
)
# Locks the invitation that holds a slot: it can't end before the row in the next slot is written.
_KEEP_OPEN = Query(
    _Open,
    select(*columns(customers, _Open))
    .where(customers.c.n.in_(IDS), customers.c.slot >= 0)
    .with_for_update(),
)
_WRITTEN = (
    *("n", "id", "reseller", "state", "name", "person", "created_at", "modified_at", "invitation"),
    *("email", "address_key", "slot", "expires_at", "latest"),
)
# A column costs the driver of SQLite a thousand instructions in each row: few have these.
_INSERT = Insert(customers, CustomerRow, *_WRITTEN)
_INSERT_WHOLE = Insert(
    customers, CustomerRow, *_WRITTEN, "options", "delivery", "external_id", "labels"
)


class Creation(NamedTuple):
    """An invitation to record: its address's key, and where it is looked for first."""

    new: NewInvitation
    address: str
    slot: tuple[AddressKey, Slot]
    use: KeyedRequest | None
    limits: Limits
    origin: str | None


def create_invitations(
    transaction: Transaction, batch: Sequence[Creation]
) -> list[Operation | Exception]:
    """Records invitations; see InvitationStorage.create_invitation."""
    return _Creations(transaction, batch).outcomes()


class _Creations:
    """What one batch records."""

    def __init__(self, transaction: Transaction, batch: Sequence[Creation]) -> None:
        self._transaction = transaction
        self._batch = batch
        self._keys = Keys(transaction, [request.use for request in batch])
        self._open: dict[AddressKey, list[_Open | CustomerRow]] = {}
        slots = {request.slot for request in batch}
        displaced = transaction.fetch(_DISPLACED, list({address for address, _ in slots}))
        for row in (*transaction.fetch(_OPEN, list(slots)), *displaced):
            self._open.setdefault(row.address_key, []).append(row)
        reseller_ids = [request.new.customer.reseller_id for request in batch]
        self._counts = Counts(
            transaction,
            batch[0].limits,
            micros(batch[0].new.invitation.created_at),
            zip(reseller_ids, (request.address for request in batch), strict=True),
            reseller_ids,
        )
        self._numbers = iter(numbers.draw_numbers(transaction, len(batch)))
        self._external_ids = ExternalIds(transaction, (request.new.customer for request in batch))
        self._lapsed: dict[CustomerNumber, Micros] = {}
        self._customers: list[CustomerRow] = []
        self._operations: list[OperationRow] = []

    def outcomes(self) -> list[Operation | Exception]:
        """Records it all."""
        transaction = self._transaction
        outcomes = answer_each(self._batch, self._keys, self._existing, self._create)
        if self._customers:
            if self._lapsed:
                expire_by_number(transaction, list(self._lapsed), max(self._lapsed.values()))
            # In one order, so that two batches don't wait for each other.
            self._customers.sort(key=_ADDRESS)
            whole = any(row.options or row.external_id or row.labels for row in self._customers)
            transaction.insert(_INSERT_WHOLE if whole else _INSERT, self._customers)
            transaction.insert(INSERT_MAKING, self._operations)
            transaction.has_work = any(row.due_at is not None for row in self._operations)
        return outcomes

    def _existing(self, _: Creation, target: Target) -> Operation:
        for row in self._operations:
            if row.n == target.number:  # of this very batch: another caller's, with the same key
                return next(
                    request.new.operation
                    for request in self._batch
                    if request.use and request.use.key.key == row.key
                )
        return by_number(self._transaction, target.number)

    def _create(self, request: Creation) -> Operation:
        (operation, customer, invitation, actor), key, (address, slot), use, _, origin = request
        reseller = resellers.require_reseller(self._transaction, customer.reseller_id)
        now = micros(invitation.created_at)
        if invitation.options.return_uri:
            require_listed(self._transaction, reseller, invitation.options.return_uri)
        tin = customer.person.get("tin", "")
        at_address = self._open.get(address)
        lapsed = None
        if at_address:
            same = [row for row in at_address if (row.slot or 0) % DISPLACED == slot]
            lapsed = self._find_lapsed(same, reseller, key, tin, now)
        self._external_ids.require_free(customer)
        due_at = None
        if operation.done:  # no e-mail is sent
            self._counts.customer(customer.reseller_id)
        else:
            due_at = self._counts.invite(customer.reseller_id, key, now)
        if at_address:
            if lapsed:
                self._lapsed[lapsed.n] = now
                at_address.remove(lapsed)
            slot = self._free_slot(at_address, slot)
        number = CustomerNumber(next(self._numbers))
        row = CustomerRow(
            n=number,
            id=CustomerId(customer.id),
            reseller=reseller,
            state=CUSTOMER_STATE_CODES[customer.state],
            name=DisplayName(customer.name),
            person=person_json(customer.person),
            created_at=now,
            modified_at=now,
            invitation=INVITATION_STATE_CODES[invitation.state],
            email=Email(invitation.email),
            address_key=address,
            slot=slot,
            expires_at=micros(invitation.expires_at),
            latest=OperationNumber(number),
            options=options_json(invitation.options),
            delivery=LINK_ONLY if operation.done else None,
            external_id=external_id_or_none(customer.external_id),
            labels=labels_json(customer.labels),
        )
        self._external_ids.take(customer)
        self._open.setdefault(address, []).append(row)
        self._customers.append(row)
        made = self._keys.made(use, OperationNumber(number))
        self._operations.append(
            operation_row(operation, number, reseller, number, made, due_at=due_at, origin=origin)
        )
        invited = NewEvent(
            *(reseller, EventType.CUSTOMER_INVITED, now, actor),
            *(customer_json(row), number, DERIVED),
        )
        log(self._transaction, invited)
        return operation

    def _find_lapsed(
        self,
        at_address: list[_Open | CustomerRow],
        reseller: ResellerNumber,
        address: str,
        tin: str,
        now: Micros,
    ) -> _Open | CustomerRow | None:
        """Returns the one for these that has lapsed; raises INVITATION_OPEN if it is open still."""
        for row in at_address:
            if _is_for(row, reseller, address, tin):
                if (row.expires_at or 0) > now:
                    raise _already_open(row)
                return row
        return None

    def _free_slot(self, at_address: list[_Open | CustomerRow], slot: Slot) -> Slot:
        """Returns the first slot that nothing else at the address has."""
        taken = {row.slot: row for row in at_address}
        while slot in taken:
            holder = taken[slot]
            if isinstance(holder, _Open) and not self._transaction.fetch(_KEEP_OPEN, [holder.n]):
                break  # it has ended just now
            slot = next_slot(slot)
        return slot


def _is_for(row: _Open | CustomerRow, reseller: ResellerNumber, address: str, tin: str) -> bool:
    """Tells whether an invitation is for these; `address` is an `address_key`."""
    return (
        row.reseller == reseller
        and address_key(row.email or "") == address
        and tax_number(row.person) == tin.strip()
    )


def _already_open(row: _Open | CustomerRow) -> BillingError:
    return BillingError(
        Reason.INVITATION_OPEN,
        "You have an open invitation for the same address and tax number already; the error's "
        "metadata names it.",
        metadata={
            "operationId": row.operation_id or ids.OPERATION + row.id[3:],
            "customerId": row.id,
            "invitationId": row.invitation_id or ids.INVITATION + row.id[3:],
        },
    )


def free_slot(
    transaction: Transaction,
    row: InvitationPart | CustomerRow,
    address: str,
    place: tuple[AddressKey, Slot],
    tin: str,
    now: Micros,
) -> Slot:
    """Returns a slot for an open invitation that gets another address, as for a new one there.

    `address` is an `address_key`, `place` where it is looked for first. Raises INVITATION_OPEN;
    expires one with the same address and tax number that has lapsed.
    """
    key, slot = place
    taken = {}
    for other in (*transaction.fetch(_OPEN, [place]), *transaction.fetch(_DISPLACED, [key])):
        if other.n == row.n:
            continue  # the two addresses have one key: it keeps its slot, or gives it up
        if other.slot % DISPLACED == slot and _is_for(other, row.reseller, address, tin):
            if other.expires_at > now:
                raise _already_open(other)
            expire_by_number(transaction, [other.n], now)
            continue
        taken[other.slot] = other
    while slot in taken and transaction.fetch(_KEEP_OPEN, [taken[slot].n]):
        slot = next_slot(slot)
    return slot


_ADDRESS = operator.attrgetter("address_key", "slot")
