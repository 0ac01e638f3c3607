"""What the sandbox alone asks of the storage: emptying a reseller."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, func, or_, select, update

from server.storage.count_rules import customers_scope
from server.storage.resellers import require_reseller
from server.storage.schema.codes import (
    CUSTOMER_TARGET,
    INVITATION_TARGET,
    OPERATION_TARGET,
    WEBHOOK_TARGET,
)
from server.storage.schema.tables import (
    CLEARED_NUMBERS,
    OperationNumber,
    counts,
    customers,
    event_logs,
    events,
    idempotency_keys,
    link_tokens,
    operations,
    reminders,
    retention,
    suppressions,
)
from server.storage.schema.webhook_tables import attempts, deliveries, webhooks
from server.storage.sql.batches import Batcher
from server.storage.sql.statements import Query, Statement, Transaction
from server.storage.sql.transactions import one_by_one

_RESELLER = "reseller"


class _Last(NamedTuple):
    n: OperationNumber | None


def _of_reseller(table: Table) -> ColumnElement[bool]:
    return table.c.reseller == bindparam(_RESELLER)


def _numbers(table: Table) -> Any:
    return select(table.c.n).where(_of_reseller(table))


def _deletion(table: Table, condition: ColumnElement[bool]) -> Statement:
    return Statement(delete(table).where(condition), _RESELLER)


_key = idempotency_keys.c
# Rows that refer to others are deleted before those.
_DELETIONS = [
    _deletion(
        idempotency_keys,
        or_(
            *(
                and_(_key.target_kind == kind, _key.target.in_(_numbers(table)))
                for kind, table in (
                    (CUSTOMER_TARGET, customers),
                    (INVITATION_TARGET, customers),
                    (OPERATION_TARGET, operations),
                    (WEBHOOK_TARGET, webhooks),
                )
            )
        ),
    ),
    _deletion(link_tokens, link_tokens.c.customer.in_(_numbers(customers))),
    _deletion(reminders, reminders.c.n.in_(_numbers(customers))),
    _deletion(attempts, attempts.c.webhook.in_(_numbers(webhooks))),
    *(
        _deletion(table, _of_reseller(table))
        for table in (deliveries, webhooks, operations, customers, events)
    ),
]
_LAST_OPERATION = Query(
    _Last, select(func.max(operations.c.n)).where(_of_reseller(operations)), _RESELLER
)
_RAISE_CLEARED_NUMBERS = Statement(
    update(retention)
    .where(retention.c.name == CLEARED_NUMBERS, retention.c.value < bindparam("value"))
    .values(value=bindparam("value")),
    "value",
)
_CLEAR_LOG = Statement(
    update(event_logs)
    .where(event_logs.c.reseller == bindparam("log"))
    .values(cleared=event_logs.c.last, oldest_at=None),
    "log",
)
_DELETE_COUNTS = Statement(
    delete(counts).where(
        or_(
            counts.c.scope == bindparam("customers"),
            counts.c.scope.like(bindparam("mails")),
            counts.c.scope.in_(
                select(suppressions.c.scope).where(suppressions.c.reseller == bindparam("owner"))
            ),
        )
    ),
    *("customers", "mails", "owner"),
)
_DELETE_SUPPRESSIONS = _deletion(suppressions, _of_reseller(suppressions))


@one_by_one
def empty_reseller(transaction: Transaction, reseller_id: str) -> None:
    """Empties a reseller; see EmptyingStorage.empty_reseller."""
    number = require_reseller(transaction, reseller_id)
    (last,) = transaction.fetch(_LAST_OPERATION, reseller=number)
    for deletion in _DELETIONS:
        transaction.run(deletion, reseller=number)
    if last.n is not None:
        transaction.run(_RAISE_CLEARED_NUMBERS, value=last.n)
    transaction.run(_CLEAR_LOG, log=number)
    transaction.run(
        _DELETE_COUNTS,
        customers=customers_scope(reseller_id),
        mails=f"mail_per_reseller%/{reseller_id}",
        owner=number,
    )
    transaction.run(_DELETE_SUPPRESSIONS, reseller=number)


class SqlEmptying:
    """Implements `interface.EmptyingStorage`."""

    def __init__(self, writes: Batcher) -> None:
        self._writes = writes

    async def empty_reseller(self, reseller_id: str) -> None:
        await self._writes.submit(empty_reseller, reseller_id)
