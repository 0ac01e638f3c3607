"""Customers: created for a reseller, activated and suspended, read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select, tuple_, update

from server.domain.customers import Customer, CustomerState, NewCustomer, state_after
from server.domain.errors import BillingError
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage.counts import Counts
from server.storage.idempotency import Keys, KeyUse
from server.storage.interface import MOST_LISTED, Cursor
from server.storage.operations import by_id
from server.storage.rows import (
    CUSTOMER_COLUMNS,
    INSERT_CUSTOMERS,
    INSERT_OPERATIONS,
    customer,
    customer_row,
    microseconds,
    operation_row,
)
from server.storage.schema import customers as table
from server.storage.statements import IDS, Statement, Transaction

_BY_ID = Statement(select(*CUSTOMER_COLUMNS).where(table.c.id.in_(IDS)))


def _page(*, past_first: bool) -> Statement:
    """Reads a page in three steps: its rows, how much text stands before each, those that fit."""
    newest_first = (table.c.created_at.desc(), table.c.id.desc())
    text = func.length(table.c.name) + func.length(table.c.person)
    rows = (
        select(*CUSTOMER_COLUMNS, text.label("text"))
        .where(table.c.reseller_id == bindparam("reseller_id"))
        .order_by(*newest_first)
        .limit(bindparam("limit"))
    )
    if past_first:
        rows = rows.where(
            tuple_(table.c.created_at, table.c.id)
            < tuple_(
                bindparam("created_at", type_=table.c.created_at.type),
                bindparam("id", type_=table.c.id.type),
            )
        )
    page = rows.subquery("page")
    newest_first = (page.c.created_at.desc(), page.c.id.desc())
    before = func.sum(page.c.text).over(order_by=newest_first) - page.c.text
    measured = select(page, before.label("before")).subquery("measured")
    columns = [measured.c[column.name] for column in CUSTOMER_COLUMNS]
    return Statement(
        select(*columns)
        .where(measured.c.before < MOST_LISTED)
        .order_by(measured.c.created_at.desc(), measured.c.id.desc()),
        *("reseller_id", "limit", "created_at", "id"),
    )


_FIRST_PAGE, _NEXT_PAGE = _page(past_first=False), _page(past_first=True)
_LOCK = Statement(
    select(table.c.id, table.c.state, table.c.modified_at)
    .where(table.c.id.in_(IDS))
    .order_by(table.c.id)  # in one order, so that two batches don't wait for each other
    .with_for_update()
)
_CHANGE = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(state=bindparam("state"), modified_at=bindparam("now")),
    "state",
    "now",
)


class _Made:
    """The operations that one batch makes, and those that its repeated requests stand for."""

    def __init__(self, transaction: Transaction, uses: Sequence[KeyUse | None]) -> None:
        self._transaction = transaction
        self._keys = Keys(transaction, uses)
        self._new: dict[str, Operation] = {}

    def replayed(self, use: KeyUse | None) -> Operation | None:
        """Returns the operation that a key seen before stands for; raises IDEMPOTENCY_KEY_REUSED."""
        known = self._keys.replayed(use)
        if known is None:
            return None
        return self._new.get(known) or by_id(self._transaction, [known])[known]

    def record(self, operation: Operation, use: KeyUse | None) -> None:
        """Makes the operation, and the key stand for it."""
        self._new[operation.id] = operation
        self._keys.record(use, operation.id)

    def write(self) -> None:
        """Writes what was recorded."""
        rows = [operation_row(operation) for operation in self._new.values()]
        self._transaction.insert(INSERT_OPERATIONS, rows)
        self._keys.write()


def create(
    transaction: Transaction, batch: Sequence[tuple[NewCustomer, KeyUse | None, Limits]]
) -> list[Operation | Exception]:
    """Creates customers; see Storage.create_customer."""
    made = _Made(transaction, [use for _, use, _ in batch])
    resellers = [new.customer.reseller_id for new, _, _ in batch]
    now = microseconds(batch[0][0].operation.created_at)
    counts = Counts(transaction, batch[0][2], now, (), resellers)
    outcomes: list[Operation | Exception] = []
    rows = []
    for new, use, _ in batch:
        try:
            outcome = made.replayed(use)
            if outcome is None:
                counts.customer(new.customer.reseller_id)
        except BillingError as error:
            outcomes.append(error)
            continue
        if outcome is None:
            outcome = new.operation
            rows.append(customer_row(new.customer))
            made.record(outcome, use)
        outcomes.append(outcome)
    transaction.insert(INSERT_CUSTOMERS, rows)
    made.write()
    return outcomes


def change_states(
    transaction: Transaction, batch: Sequence[tuple[Operation, KeyUse | None]]
) -> list[Operation | Exception | None]:
    """Activates and suspends customers; see Storage.change_customer_state."""
    made = _Made(transaction, [use for _, use in batch])
    states = {
        id_: (CustomerState(state), modified_at)
        for id_, state, modified_at in transaction.fetch(
            _LOCK, list(dict.fromkeys(operation.customer_id for operation, _ in batch))
        )
    }
    outcomes: list[Operation | Exception | None] = []
    for operation, use in batch:
        id_ = operation.customer_id
        try:
            outcome = made.replayed(use)
            if outcome is None and id_ in states:
                before, modified_at = states[id_]
                after = state_after(operation.kind, id_, before)
                if after is not before:
                    now = max(microseconds(operation.created_at), modified_at)  # clocks differ
                    transaction.run(_CHANGE, [id_], state=after, now=now)
                    states[id_] = after, now
                made.record(operation, use)
                outcome = operation
        except BillingError as error:
            outcomes.append(error)
        else:
            outcomes.append(outcome)
    made.write()
    return outcomes


def get(transaction: Transaction, ids: Sequence[str]) -> list[Customer | None]:
    """Returns customers; see Storage.get_customer."""
    found = {row[0]: customer(row) for row in transaction.fetch(_BY_ID, list(dict.fromkeys(ids)))}
    return [found.get(id_) for id_ in ids]


class Page(NamedTuple):
    """Which customers to list."""

    reseller_id: str
    limit: int
    after: Cursor | None


def list_pages(transaction: Transaction, pages: Sequence[Page]) -> list[list[Customer]]:
    """Returns a page for each; see Storage.list_customers."""
    return [[customer(row) for row in _fetch(transaction, page)] for page in pages]


def _fetch(transaction: Transaction, page: Page) -> list[tuple[Any, ...]]:
    if page.after is None:
        return transaction.fetch(_FIRST_PAGE, reseller_id=page.reseller_id, limit=page.limit)
    return transaction.fetch(
        _NEXT_PAGE,
        reseller_id=page.reseller_id,
        limit=page.limit,
        created_at=microseconds(page.after.created_at),
        id=page.after.id,
    )
