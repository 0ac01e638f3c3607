"""Activating and suspending customers."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import Actor
from server.domain.customer_changes import require_etag, require_living
from server.domain.customers import state_after
from server.domain.events import EventType
from server.domain.operations import Operation, OperationKind
from server.storage import numbers
from server.storage.customer_rows import CUSTOMER_PART, CustomerPart, customer
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import customer_json
from server.storage.keys import KeyedRequest, answer_each
from server.storage.operations.create import NewOperations
from server.storage.operations.rows import INSERT_OTHERS
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    CUSTOMER_STATES,
)
from server.storage.schema.tables import (
    CustomerId,
    customers,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, micros

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


_EVENTS = {
    OperationKind.ACTIVATE: EventType.CUSTOMER_ACTIVATED,
    OperationKind.SUSPEND: EventType.CUSTOMER_SUSPENDED,
}


class StateChange(NamedTuple):
    """What an operation does to its customer."""

    operation: Operation
    actor: Actor
    use: KeyedRequest | None
    etag: str = ""


def change_customer_states(
    transaction: Transaction, batch: Sequence[StateChange]
) -> list[Operation | Exception | None]:
    """Activates and suspends customers; see CustomerStorage.change_customer_state."""
    wanted = list(dict.fromkeys(request.operation.customer_id for request in batch))
    states = {row.id: row for row in transaction.fetch(_LOCK, wanted)}
    made = NewOperations(transaction, [request.use for request in batch])
    drawn = iter(numbers.draw_numbers(transaction, len(batch)))

    def change(request: StateChange) -> Operation | None:
        operation = request.operation
        row = states.get(CustomerId(operation.customer_id))
        if row is None:
            return None
        found = customer(transaction, row)
        require_etag(found, request.etag)
        require_living(found)
        before = CUSTOMER_STATES[row.state]
        after = state_after(operation.kind, row.id, before)
        if after is not before:
            now = max(micros(operation.created_at), Micros(row.modified_at + 1))  # clocks differ
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
