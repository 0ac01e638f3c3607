"""Reading operations: by ID, and lists of resellers', newest first."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, false, select, true

from server.domain import ids
from server.domain.filters import Filter, matches, required_value
from server.domain.operations import Operation
from server.storage import resellers
from server.storage.interface.paging import Cursor, Part
from server.storage.operations.rows import (
    MAKING_OPERATION,
    OPERATION_PART,
    WITH_CUSTOMERS,
    MakingOperation,
    OperationPart,
    making_operation,
    operation,
)
from server.storage.schema.tables import customers, operations
from server.storage.sql.bounded_lists import Step, read_part
from server.storage.sql.paging import Run, listed, merged
from server.storage.sql.statements import IDS, Query, Transaction

# Whose ID ends like that of the customer that it made: nearly all.
_MAKING = Query(
    MakingOperation,
    select(*MAKING_OPERATION)
    .join_from(customers, operations, operations.c.n == customers.c.n)
    .where(customers.c.id.in_(IDS), operations.c.id.is_(None)),
)
_BY_ID = Query(
    OperationPart,
    select(*OPERATION_PART).select_from(WITH_CUSTOMERS).where(operations.c.id.in_(IDS)),
)
_BY_NUMBER = Query(
    OperationPart,
    select(*OPERATION_PART).select_from(WITH_CUSTOMERS).where(operations.c.n.in_(IDS)),
)


def by_number(transaction: Transaction, number: int) -> Operation:
    """Returns an operation that is there, also a deleted one."""
    (row,) = transaction.fetch(_BY_NUMBER, [number])
    return operation(transaction, row)


def find_by_number(transaction: Transaction, number: int) -> Operation | None:
    """Returns an operation, also a deleted one; None: it is cleared."""
    rows = transaction.fetch(_BY_NUMBER, [number])
    return operation(transaction, rows[0]) if rows else None


def customer_ids(operation_ids: Iterable[str]) -> list[str]:
    """Returns the IDs of customers whose IDs end like those of the operations."""
    return [ids.CUSTOMER + id_[3:] for id_ in operation_ids if id_.startswith(ids.OPERATION)]


def get_operations(transaction: Transaction, wanted: Sequence[str]) -> list[Operation | None]:
    """Returns operations; see OperationStorage.get_operation."""
    found: dict[str, Operation | None] = {}
    unique = wanted if len(wanted) == 1 else list(dict.fromkeys(wanted))
    likely = customer_ids(unique)
    for made in transaction.fetch(_MAKING, likely) if likely else ():
        value = making_operation(transaction, made)
        found[value.id] = None if made.deleted else value
    if len(found) < len(unique):
        others = [id_ for id_ in unique if id_ not in found]
        for row in transaction.fetch(_BY_ID, others):
            value = operation(transaction, row)
            found[value.id] = None if row.deleted else value
    return [found.get(id_) for id_ in wanted]


class OperationPage(NamedTuple):
    """A page to read: at most `limit` operations, past a cursor."""

    reseller_ids: list[str]
    filter_: Filter | None
    limit: int
    after: Cursor | None


def _page(done: bool | None, *, is_sqlite: bool, past_first: bool) -> Query[OperationPart]:
    """Makes what reads one reseller's operations in the order of an index."""

    rows = select(*OPERATION_PART).select_from(WITH_CUSTOMERS)
    runs = [
        Run(
            {operations.c.reseller: bindparam("reseller"), operations.c.done: state},
            [~operations.c.deleted],
        )
        for name, state in ((True, true()), (False, false()))
        if done in (None, name)
    ]
    page = merged(rows, operations.c.n, runs, is_sqlite=is_sqlite, past_first=past_first)
    return Query(OperationPart, page, "reseller", "limit", "after")


_PAGES = {
    (done, is_sqlite, past_first): _page(done, is_sqlite=is_sqlite, past_first=past_first)
    for done in (None, True, False)
    for is_sqlite in (False, True)
    for past_first in (False, True)
}


def list_operations(
    transaction: Transaction, pages: Sequence[OperationPage]
) -> list[Part[Operation]]:
    """Returns a page for each; see OperationStorage.list_operations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: OperationPage) -> Part[Operation]:
    """Reads what an index has, by `done`; the rest of the filter is tried on what is found."""
    condition = page.filter_
    done = required_value(condition, "done", bool)

    def read(limit: int, after: Cursor | None) -> Step[Operation]:
        rows = _read(transaction, page.reseller_ids, done, limit, after)
        records = listed(rows, lambda row: operation(transaction, row))
        found = [
            each
            for each in records
            if condition is None or matches(condition, each.record.value_of)
        ]
        return Step(found, None if len(rows) < limit else records[-1].cursor)

    return read_part(page.limit, page.after, read)


def _read(
    transaction: Transaction,
    reseller_ids: Sequence[str],
    done: bool | None,
    limit: int,
    after: Cursor | None,
) -> list[OperationPart]:
    """Returns the newest rows of all the resellers, past a number."""
    known = (resellers.reseller_number(transaction, id_) for id_ in reseller_ids)
    statement = _PAGES[done, transaction.is_sqlite, after is not None]
    # One reseller at a time: only then does the index give the order.
    rows = [
        row
        for reseller in known
        if reseller is not None
        for row in transaction.fetch(statement, reseller=reseller, limit=limit, after=after)
    ]
    rows.sort(key=lambda row: row.n, reverse=True)
    return rows[:limit]
