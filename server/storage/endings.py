"""How operations end, and how they are cancelled and deleted by callers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from server.domain.errors import BillingError, Reason
from server.domain.invitations import ANSWERED, InvitationState
from server.domain.operations import CANCELLED, Failure, Operation, OperationKind
from server.storage.counts import take_customers_back
from server.storage.idempotency import Keys, KeyUse
from server.storage.operations import by_id
from server.storage.rows import OPERATION_COLUMNS, failure_text, microseconds, operation, time
from server.storage.schema import customers, invitations, link_tokens
from server.storage.schema import operations as table
from server.storage.statements import IDS, Statement, Transaction

_LOCK = Statement(
    select(
        *OPERATION_COLUMNS,
        table.c.deleted,
        table.c.invitation_id,
        table.c.claimed,
        table.c.due_at,
        table.c.attempts,
        table.c.cancel_requested,
    )
    .where(table.c.id.in_(IDS))
    .order_by(table.c.id)  # in one order, so that two batches don't wait for each other
    .with_for_update()
)
_END = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(
        done=True,
        failure=bindparam("failure"),
        modified_at=bindparam("now"),
        due_at=None,
        claimed=False,
    ),
    "failure",
    "now",
)
_REQUEST_CANCEL = Statement(update(table).where(table.c.id.in_(IDS)).values(cancel_requested=True))
_DELETE = Statement(update(table).where(table.c.id.in_(IDS)).values(deleted=True))
_LOCK_INVITATIONS = Statement(
    select(invitations.c.id, invitations.c.state)
    .where(invitations.c.id.in_(IDS))
    .order_by(invitations.c.id)
    .with_for_update()
)
_TAKE_BACK_CUSTOMERS = Statement(delete(customers).where(customers.c.id.in_(IDS)))
_TAKE_BACK_INVITATIONS = Statement(delete(invitations).where(invitations.c.id.in_(IDS)))
_UNDO_RESENDS = Statement(
    update(invitations)
    .where(invitations.c.id.in_(IDS), invitations.c.previous_operation_id.is_not(None))
    .values(
        latest_operation_id=invitations.c.previous_operation_id,
        resent_at=invitations.c.previous_resent_at,
        expires_at=invitations.c.previous_expires_at,
        previous_operation_id=None,
        previous_resent_at=None,
        previous_expires_at=None,
    )
    .returning(invitations.c.id, invitations.c.latest_operation_id)
)
_HAND_LINKS_OVER = Statement(
    update(link_tokens)
    .where(link_tokens.c.invitation_id.in_(IDS), link_tokens.c.operation_id == bindparam("failed"))
    .values(operation_id=bindparam("holds")),
    "failed",
    "holds",
)
_TAKE_BACK_LINKS = Statement(delete(link_tokens).where(link_tokens.c.invitation_id.in_(IDS)))


class Locked(NamedTuple):
    """A row that no one else can change until the transaction ends."""

    operation: Operation
    deleted: bool
    invitation_id: str | None
    claimed: bool
    due_at: int | None
    attempts: int
    cancel_requested: bool

    def held(self, now: int) -> bool:
        """Tells whether a worker has it under a live lease."""
        return self.claimed and self.due_at is not None and self.due_at > now


def lock(transaction: Transaction, ids: Sequence[str]) -> dict[str, Locked]:
    """Returns rows by ID, deleted ones too, and keeps others from changing them."""
    if not ids:
        return {}
    return {
        row[0]: Locked(operation(row), *row[len(OPERATION_COLUMNS) :])
        for row in transaction.fetch(_LOCK, list(dict.fromkeys(ids)))
    }


def end(
    transaction: Transaction, endings: Sequence[tuple[Locked, Failure | None, int]]
) -> list[Operation]:
    """Ends operations, each at its time.

    A failed Invite is taken back: customer, invitation and links go, unless the invitation has
    ended otherwise. A failed resend is undone: the invitation is as it was before. What was answered
    had arrived, so its operation has not failed.
    """
    failed = [row for row, failure, _ in endings if failure and row.invitation_id]
    states = _lock_invitations(transaction, [row.invitation_id for row in failed])
    ended = []
    changes: list[tuple[str, dict[str, Any]]] = []
    for row, failure, now in endings:
        if failure and states.get(row.invitation_id) in ANSWERED:
            failure = None
        before = row.operation
        at = max(now, microseconds(before.modified_at))  # clocks differ
        text = failure_text(failure) if failure else None
        changes.append((before.id, {"failure": text, "now": at}))
        ended.append(before._replace(done=True, failure=failure, modified_at=time(at)))
    transaction.run_each(_END, changes)
    undone = [row for row in failed if states.get(row.invitation_id) is InvitationState.PENDING]
    _take_back(transaction, [row for row in undone if row.operation.kind is OperationKind.INVITE])
    _undo_resends(
        transaction, [row for row in undone if row.operation.kind is OperationKind.RESEND]
    )
    transaction.ended += [result.id for result in ended]
    return ended


def _lock_invitations(
    transaction: Transaction, ids: Sequence[str | None]
) -> dict[str | None, InvitationState]:
    """Returns states by ID, and keeps others from changing them."""
    rows = transaction.fetch(_LOCK_INVITATIONS, ids) if ids else []
    return {id_: InvitationState(state) for id_, state in rows}


def _take_back(transaction: Transaction, failed: Sequence[Locked]) -> None:
    sent = [row.invitation_id for row in failed]
    if sent:
        transaction.run(_TAKE_BACK_INVITATIONS, sent)
        transaction.run(_TAKE_BACK_CUSTOMERS, [row.operation.customer_id for row in failed])
        transaction.run(_TAKE_BACK_LINKS, sent)
        take_customers_back(transaction, [row.operation.reseller_id for row in failed])


def _undo_resends(transaction: Transaction, failed: Sequence[Locked]) -> None:
    """Makes the links hold again that were sent before, and with them those of the failed tries.

    Their e-mails may have arrived all the same.
    """
    ids = [row.invitation_id for row in failed]
    before = dict(transaction.fetch(_UNDO_RESENDS, ids)) if ids else {}
    transaction.run_each(
        _HAND_LINKS_OVER,
        [
            (
                row.invitation_id,
                {"failed": row.operation.id, "holds": before[row.invitation_id]},
            )
            for row in failed
            if row.invitation_id in before
        ],
    )


def cancel(
    transaction: Transaction, batch: Sequence[tuple[str, int, KeyUse | None]]
) -> list[Operation | Exception | None]:
    """Cancels operations; see Storage.cancel_operation."""
    keys = Keys(transaction, (use for _, _, use in batch))
    rows = lock(transaction, [operation_id for operation_id, _, _ in batch])
    outcomes: list[Operation | Exception | None] = []
    for operation_id, now, use in batch:
        try:
            known = keys.replayed(use)
        except BillingError as error:
            outcomes.append(error)
            continue
        if known:
            outcomes.append(by_id(transaction, [known])[known])
            continue
        row = rows.get(operation_id)
        if row is None or row.deleted:
            outcomes.append(None)
            continue
        if not row.operation.done:
            if row.held(now):
                transaction.run(_REQUEST_CANCEL, [operation_id])
            else:
                (cancelled,) = end(transaction, [(row, CANCELLED, now)])
                row = rows[operation_id] = row._replace(operation=cancelled)
        keys.record_later(use, operation_id)
        outcomes.append(row.operation)
    keys.write()
    return outcomes


def delete_records(
    transaction: Transaction, batch: Sequence[tuple[str, KeyUse | None]]
) -> list[bool | Exception]:
    """Deletes the records of finished operations; see Storage.delete_operation."""
    keys = Keys(transaction, (use for _, use in batch))
    rows = lock(transaction, [operation_id for operation_id, _ in batch])
    outcomes: list[bool | Exception] = []
    deleted: set[str] = set()
    for operation_id, use in batch:
        try:
            known = keys.replayed(use)
        except BillingError as error:
            outcomes.append(error)
            continue
        if known:
            outcomes.append(True)
            continue
        row = rows.get(operation_id)
        if row is None or row.deleted or operation_id in deleted:
            outcomes.append(False)
            continue
        if not row.operation.done:
            outcomes.append(_running())
            continue
        deleted.add(operation_id)
        keys.record_later(use, operation_id)
        outcomes.append(True)
    if deleted:
        transaction.run(_DELETE, list(deleted))
    keys.write()
    return outcomes


def _running() -> BillingError:
    return BillingError(
        Reason.OPERATION_RUNNING,
        "Only a finished operation can be deleted; cancel it or wait for its end.",
    )
