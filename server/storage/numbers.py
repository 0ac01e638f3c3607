"""Numbers of rows inside the storage."""

from typing import NamedTuple

from sqlalchemy import Integer, Table, bindparam, func, literal_column, select

from server.storage.schema.access_tables import role_bindings
from server.storage.schema.tables import CLEARED_NUMBERS, customers, operations, retention
from server.storage.schema.webhook_tables import attempts, deliveries, webhooks
from server.storage.sql.statements import Query, Transaction


class _Number(NamedTuple):
    n: int


# Customers and operations share one sequence: an operation that makes a customer has its number.
_LATEST = Query(
    _Number,
    select(
        func.coalesce(select(func.max(customers.c.n)).scalar_subquery(), 0),
    ).union_all(
        select(func.coalesce(select(func.max(operations.c.n)).scalar_subquery(), 0)),
        select(retention.c.value).where(retention.c.name == CLEARED_NUMBERS),
    ),
)
_DRAWN = Query(
    _Number,
    select(func.nextval(literal_column("'numbers'"))).select_from(
        func.generate_series(1, bindparam("count", type_=Integer))
    ),
    "count",
)


_LAST = {
    table: Query(_Number, select(func.coalesce(func.max(table.c.n), 0)))
    for table in (webhooks, deliveries, attempts, role_bindings)
}


def row_numbers(transaction: Transaction, table: Table, count: int) -> list[int]:
    """Returns numbers for rows of webhooks, deliveries, attempts or roles, in growing order.

    On SQLite the caller must insert the rows before it asks again; numbers of rows that are gone may
    come again there.
    """
    if not transaction.is_sqlite:
        return [number for (number,) in transaction.fetch(_DRAWN, count=count)]
    ((last,),) = transaction.fetch(_LAST[table])
    return list(range(last + 1, last + 1 + count))


def draw_numbers(transaction: Transaction, count: int) -> list[int]:
    """Returns numbers for customers and operations that are being made, in growing order.

    On SQLite the caller must insert rows with them before the transaction ends.
    """
    if not count:
        return []
    if not transaction.is_sqlite:
        return [number for (number,) in transaction.fetch(_DRAWN, count=count)]
    first = transaction.next_number
    if first is None:
        first = max(number for (number,) in transaction.fetch(_LATEST)) + 1
    transaction.next_number = first + count
    return list(range(first, first + count))
