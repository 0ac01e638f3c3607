"""Reading operations, by ID and by number."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from server.domain import ids
from server.domain.operations import Operation
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
BY_NUMBER = Query(
    OperationPart,
    select(*OPERATION_PART).select_from(WITH_CUSTOMERS).where(operations.c.n.in_(IDS)),
)


def by_number(transaction: Transaction, number: int) -> Operation:
    """Returns an operation that is there, also a deleted one."""
    (row,) = transaction.fetch(BY_NUMBER, [number])
    return operation(transaction, row)


def find_by_number(transaction: Transaction, number: int) -> Operation | None:
    """Returns an operation, also a deleted one; None: it is cleared."""
    rows = transaction.fetch(BY_NUMBER, [number])
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
