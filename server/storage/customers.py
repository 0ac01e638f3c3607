"""Customers: created for a reseller, activated and suspended, read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select, update

from server.domain.access import Actor
from server.domain.customers import Customer, NewCustomer, state_after
from server.domain.events import EventType
from server.domain.limits import Limits
from server.domain.operations import Operation, OperationKind
from server.storage import numbers, resellers
from server.storage.counts import Counts
from server.storage.customer_rows import CUSTOMER_PART, CustomerPart, customer, person_json
from server.storage.events.log import DERIVED, NewEvent, log
from server.storage.events.rows import customer_json
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import MAX_LIST_CHARACTERS, Cursor, Listed
from server.storage.keys import KeyedRequest, KeyLifetime, Keys, Target, answer_each
from server.storage.operations.read import by_number
from server.storage.operations.rows import INSERT_MAKING, INSERT_OTHERS, operation_row
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    CUSTOMER_STATES,
    INVITATION_STATE_CODES,
    NO_INVITATION,
)
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    CustomerRow,
    DisplayName,
    OperationNumber,
    OperationRow,
    ResellerNumber,
    customers,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.inline_reads import InlineReads
from server.storage.sql.paging import listed, newest_first
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import micros

_INSERT = Insert(
    customers,
    CustomerRow,
    *("n", "id", "reseller", "state", "name", "person", "created_at", "modified_at", "invitation"),
)
_BY_ID = Query(CustomerPart, select(*CUSTOMER_PART).where(customers.c.id.in_(IDS)))


_LOCK = Query(
    CustomerPart,
    select(*CUSTOMER_PART)
    .where(customers.c.id.in_(IDS))
    .order_by(customers.c.n)  # in one order, so that two batches don't wait for each other
    .with_for_update(),
)
_CHANGE = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(state=bindparam("state"), modified_at=bindparam("now")),
    "state",
    "now",
)


class Creation(NamedTuple):
    """A customer to record that its reseller serves."""

    new: NewCustomer
    use: KeyedRequest | None
    limits: Limits


def create_customers(
    transaction: Transaction, batch: Sequence[Creation]
) -> list[Operation | Exception]:
    """Creates customers; see CustomerStorage.create_customer."""
    made = _Made(transaction, [request.use for request in batch])
    drawn = iter(numbers.draw_numbers(transaction, len(batch)))
    rows: list[CustomerRow] = []
    resellers_of = [request.new.customer.reseller_id for request in batch]
    now = micros(batch[0].new.operation.created_at)
    counts = Counts(transaction, batch[0].limits, now, (), resellers_of)

    def create(request: Creation) -> Operation:
        operation, new, actor = request.new
        counts.customer(new.reseller_id)
        number = CustomerNumber(next(drawn))
        reseller = resellers.require_reseller(transaction, new.reseller_id)
        created = micros(new.created_at)
        row = CustomerRow(
            n=number,
            id=CustomerId(new.id),
            reseller=reseller,
            state=CUSTOMER_STATE_CODES[new.state],
            name=DisplayName(new.name),
            person=person_json(new.person),
            created_at=created,
            modified_at=created,
            invitation=NO_INVITATION,
        )
        rows.append(row)
        made.add(operation, number, reseller, number, request.use, with_id=False)
        event = NewEvent(
            *(reseller, EventType.CUSTOMER_CREATED, created, actor),
            *(customer_json(row), number, DERIVED),
        )
        log(transaction, event)
        return operation

    outcomes = answer_each(batch, made.keys, made.existing, create)
    transaction.insert(_INSERT, rows)
    transaction.insert(INSERT_MAKING, made.rows)
    return outcomes


_EVENTS = {
    OperationKind.ACTIVATE: EventType.CUSTOMER_ACTIVATED,
    OperationKind.SUSPEND: EventType.CUSTOMER_SUSPENDED,
}


class StateChange(NamedTuple):
    """What an operation does to its customer."""

    operation: Operation
    actor: Actor
    use: KeyedRequest | None


def change_customer_states(
    transaction: Transaction, batch: Sequence[StateChange]
) -> list[Operation | Exception | None]:
    """Activates and suspends customers; see CustomerStorage.change_customer_state."""
    wanted = list(dict.fromkeys(request.operation.customer_id for request in batch))
    states = {row.id: row for row in transaction.fetch(_LOCK, wanted)}
    made = _Made(transaction, [request.use for request in batch])
    drawn = iter(numbers.draw_numbers(transaction, len(batch)))

    def change(request: StateChange) -> Operation | None:
        operation = request.operation
        row = states.get(CustomerId(operation.customer_id))
        if row is None:
            return None
        before = CUSTOMER_STATES[row.state]
        after = state_after(operation.kind, row.id, before)
        if after is not before:
            now = max(micros(operation.created_at), row.modified_at)  # clocks differ
            code = CUSTOMER_STATE_CODES[after]
            transaction.run(_CHANGE, [row.n], state=code, now=now)
            row = row._replace(state=code, modified_at=now)
            states[row.id] = row
        event = NewEvent(
            *(row.reseller, _EVENTS[operation.kind], row.modified_at, request.actor),
            *(customer_json(row), row.n, operation.id),
        )
        log(transaction, event)
        made.add(operation, next(drawn), row.reseller, row.n, request.use, with_id=True)
        return operation

    outcomes = answer_each(batch, made.keys, made.existing, change)
    transaction.insert(INSERT_OTHERS, made.rows)
    return outcomes


class _Made:
    """The operations that one batch makes, and those that its repeated requests stand for."""

    def __init__(self, transaction: Transaction, uses: Sequence[KeyedRequest | None]) -> None:
        self._transaction = transaction
        self.keys = Keys(transaction, uses)
        self.rows: list[OperationRow] = []
        self._made: dict[int, Operation] = {}

    def existing(self, _: object, target: Target) -> Operation:
        """Returns the operation that a key stands for."""
        return self._made.get(target.number) or by_number(self._transaction, target.number)

    def add(
        self,
        operation: Operation,
        number: int,
        reseller: ResellerNumber,
        customer: CustomerNumber,
        use: KeyedRequest | None,
        *,
        with_id: bool,
    ) -> None:
        """Notes the row of a new operation, and that the key stands for it."""
        key = self.keys.made(use, OperationNumber(number))
        self._made[number] = operation
        self.rows.append(operation_row(operation, number, reseller, customer, key, with_id=with_id))


def get_customers(transaction: Transaction, wanted: Sequence[str]) -> list[Customer | None]:
    """Returns customers; see CustomerStorage.get_customer."""
    rows = transaction.fetch(_BY_ID, list(dict.fromkeys(wanted)))
    found: dict[str, Customer] = {row.id: customer(transaction, row) for row in rows}
    return [found.get(id_) for id_ in wanted]


class CustomerPage(NamedTuple):
    """Which customers to list."""

    reseller_id: str
    limit: int
    after: Cursor | None


def _page(*, past_first: bool) -> Query[CustomerPart]:
    """Reads a page in three steps: its rows, how much text stands before each, those that fit.

    The rows are of each of their invitations' states, merged.
    """
    text = func.length(customers.c.name) + func.length(customers.c.person)

    def part(state: int) -> Select[Any]:
        rows = select(*CUSTOMER_PART, text.label("text")).where(
            customers.c.reseller == bindparam("reseller"), customers.c.invitation == state
        )
        return rows.where(customers.c.n < bindparam("after")) if past_first else rows

    states = (NO_INVITATION, *INVITATION_STATE_CODES.values())
    page = newest_first(list(map(part, states))).subquery("page")
    before = func.sum(page.c.text).over(order_by=page.c.n.desc()) - page.c.text
    measured = select(page, before.label("before")).subquery("measured")
    rows = (
        select(*(measured.c[name] for name in CustomerPart._fields))
        .where(measured.c.before < MAX_LIST_CHARACTERS)
        .order_by(measured.c.n.desc())
    )
    return Query(CustomerPart, rows, "reseller", "limit", "after")


_PAGES = {past_first: _page(past_first=past_first) for past_first in (False, True)}


def list_customers(
    transaction: Transaction, pages: Sequence[CustomerPage]
) -> list[list[Listed[Customer]]]:
    """Returns a page for each; see CustomerStorage.list_customers."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: CustomerPage) -> list[Listed[Customer]]:
    reseller = resellers.reseller_number(transaction, page.reseller_id)
    if reseller is None:
        return []
    rows = transaction.fetch(
        _PAGES[page.after is not None],
        reseller=reseller,
        limit=page.limit,
        after=page.after,
    )
    return listed(rows[: page.limit], lambda row: customer(transaction, row))


class SqlCustomers:
    """Implements `interface.CustomerStorage`."""

    def __init__(
        self,
        writes: Batcher,
        reads: Batcher,
        inline: InlineReads,
        keys: KeyLifetime,
        limits: Limits,
    ) -> None:
        self._writes = writes
        self._reads = reads
        self._inline = inline
        self._keys = keys
        self._limits = limits

    async def create_customer(self, new: NewCustomer, key: IdempotencyKey | None) -> Operation:
        use = self._keys.keyed(key, new.operation.created_at)
        return await self._writes.submit(create_customers, Creation(new, use, self._limits))

    async def change_customer_state(
        self, operation: Operation, actor: Actor, key: IdempotencyKey | None
    ) -> Operation | None:
        use = self._keys.keyed(key, operation.created_at)
        change = StateChange(operation, actor, use)
        return await self._writes.submit(change_customer_states, change)

    async def get_customer(self, customer_id: str) -> Customer | None:
        return await self._inline.read(get_customers, customer_id)

    async def list_customers(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Listed[Customer]]:
        return await self._reads.submit(list_customers, CustomerPage(reseller_id, limit, after))
