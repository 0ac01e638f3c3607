"""What callers ask of operations: to be cancelled, and to be deleted."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, update

from server.domain.access import Actor
from server.domain.errors import BillingError, Reason
from server.domain.operations import CANCELLED, Operation
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.operations.read import by_number
from server.storage.operations.rows import OperationPart, actor_json, failure_json, operation
from server.storage.operations.transitions import Ending, end, lock_by_id
from server.storage.schema.codes import OPERATION_TARGET
from server.storage.schema.tables import operations
from server.storage.sql.statements import IDS, Statement, Transaction
from server.storage.sql.times import Micros, micros

_REQUEST_CANCEL = Statement(
    update(operations)
    .where(operations.c.n.in_(IDS))
    .values(cancel_requested=True, cancelled_by=bindparam("actor")),
    "actor",
)
_DELETE = Statement(update(operations).where(operations.c.n.in_(IDS)).values(deleted=True))


class Cancellation(NamedTuple):
    """Which operation to cancel, when, and for whom."""

    operation_id: str
    now: Micros
    actor: Actor
    use: KeyedRequest | None


class Deletion(NamedTuple):
    """Which operation to delete."""

    operation_id: str
    use: KeyedRequest | None


def cancel_operations(
    transaction: Transaction, batch: Sequence[Cancellation]
) -> list[Operation | Exception | None]:
    """Cancels operations; see OperationStorage.cancel_operation."""
    keys = Keys(transaction, (request.use for request in batch))
    rows = lock_by_id(transaction, [request.operation_id for request in batch])

    def existing(_: Cancellation, target: Target) -> Operation | None:
        return by_number(transaction, target.number)

    def cancel(request: Cancellation) -> Operation | None:
        row = rows.get(request.operation_id)
        if row is None or row.deleted:
            return None
        result = operation(transaction, row)
        if not row.done:
            if row.is_held(request.now):
                transaction.run(_REQUEST_CANCEL, [row.n], actor=actor_json(request.actor))
            else:
                (result,) = end(transaction, [Ending(row, CANCELLED, request.now, request.actor)])
                rows[request.operation_id] = _ended(row, result)
        keys.changed(request.use, OPERATION_TARGET, row.n)
        return result

    outcomes = answer_each(batch, keys, existing, cancel)
    keys.write()
    return outcomes


def _ended(row: OperationPart, result: Operation) -> OperationPart:
    """Returns the row as it is once it has been cancelled."""
    return row._replace(
        done=True,
        failure=failure_json(result.failure) if result.failure else None,
        modified_at=micros(result.modified_at),
    )


def delete_operations(
    transaction: Transaction, batch: Sequence[Deletion]
) -> list[bool | Exception]:
    """Deletes the records of finished operations; see OperationStorage.delete_operation."""
    keys = Keys(transaction, (request.use for request in batch))
    rows = lock_by_id(transaction, [request.operation_id for request in batch])

    def delete(request: Deletion) -> bool:
        row = rows.get(request.operation_id)
        if row is None or row.deleted:
            return False
        if not row.done:
            raise BillingError(
                Reason.OPERATION_RUNNING,
                "Only a finished operation can be deleted; cancel it or wait for its end.",
            )
        rows[request.operation_id] = row._replace(deleted=True)
        keys.changed(request.use, OPERATION_TARGET, row.n)
        return True

    outcomes = answer_each(batch, keys, lambda *_: True, delete)
    deleted = [row.n for row in rows.values() if row.deleted]
    if deleted:
        transaction.run(_DELETE, deleted)
    keys.write()
    return outcomes
