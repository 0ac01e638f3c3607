"""How operations end; whoever ends one has locked its row.

Rows are locked in the order operations, customers. What is done to invitations locks customers first,
so it touches an operation only if nobody holds it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, select, update

from server.domain.invitations import ANSWERED, InvitationState
from server.domain.operations import Failure, Operation, OperationKind
from server.storage.counts import take_customers_back
from server.storage.operations.read import customer_ids
from server.storage.operations.rows import (
    OPERATION_PART,
    WITH_CUSTOMERS,
    OperationPart,
    failure_json,
    operation,
)
from server.storage.resellers import reseller_id
from server.storage.schema.codes import INVITATION_STATES, OPERATION_KIND_CODES, InvitationStateCode
from server.storage.schema.tables import (
    CustomerNumber,
    OperationNumber,
    customers,
    link_tokens,
    operations,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, from_micros

_INVITE = OPERATION_KIND_CODES[OperationKind.INVITE]
_RESEND = OPERATION_KIND_CODES[OperationKind.RESEND]


def _locking(rows: Select[Any]) -> Query[OperationPart]:
    # In one order, so that two batches don't wait for each other.
    return Query(OperationPart, rows.order_by(operations.c.n).with_for_update(of=operations))


# The customer must be outer-joined: one that is taken back while the row is waited for would take
# the row along. The two kinds of IDs are kept apart, as in `read`.
_LOCK_BY_CUSTOMER_ID = _locking(
    select(*OPERATION_PART)
    .select_from(WITH_CUSTOMERS)
    .where(
        operations.c.n.in_(select(customers.c.n).where(customers.c.id.in_(IDS))),
        operations.c.id.is_(None),
    )
)
_LOCK_BY_ID = _locking(
    select(*OPERATION_PART).select_from(WITH_CUSTOMERS).where(operations.c.id.in_(IDS))
)
_LOCK_BY_NUMBER = _locking(
    select(*OPERATION_PART).select_from(WITH_CUSTOMERS).where(operations.c.n.in_(IDS))
)
_END = Statement(
    update(operations)
    .where(operations.c.n.in_(IDS))
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
_KEEP_IDS = Statement(
    update(operations)
    .where(operations.c.n.in_(IDS))
    .values(
        id=bindparam("operation_id"),
        customer_id=bindparam("customer_id"),
        billing_account_id=bindparam("account_id"),
    ),
    "operation_id",
    "customer_id",
    "account_id",
)


class _Invited(NamedTuple):
    """A customer and its invitation's state."""

    n: CustomerNumber
    invitation: InvitationStateCode


_LOCK_CUSTOMERS = Query(
    _Invited,
    select(*columns(customers, _Invited))
    .where(customers.c.n.in_(IDS))
    .order_by(customers.c.n)
    .with_for_update(),
)
_DELETE_CUSTOMERS = Statement(delete(customers).where(customers.c.n.in_(IDS)))
_DELETE_LINKS = Statement(delete(link_tokens).where(link_tokens.c.customer.in_(IDS)))


class _Undone(NamedTuple):
    """A customer, and the operation whose links hold again."""

    n: CustomerNumber
    latest: OperationNumber


_UNDO_RESENDS = Query(
    _Undone,
    update(customers)
    .where(customers.c.n.in_(IDS), customers.c.previous_latest.is_not(None))
    .values(
        latest=customers.c.previous_latest,
        resent_at=customers.c.previous_resent_at,
        expires_at=customers.c.previous_expires_at,
        previous_latest=None,
        previous_resent_at=None,
        previous_expires_at=None,
    )
    .returning(customers.c.n, customers.c.latest),
)
_HAND_LINKS_OVER = Statement(
    update(link_tokens)
    .where(link_tokens.c.customer.in_(IDS), link_tokens.c.operation == bindparam("failed"))
    .values(operation=bindparam("holds")),
    "failed",
    "holds",
)


class Ending(NamedTuple):
    """What is to end: a locked operation, with a failure or without one, at its time."""

    row: OperationPart
    failure: Failure | None
    now: Micros


def lock_by_id(transaction: Transaction, wanted: Sequence[str]) -> dict[str, OperationPart]:
    """Returns rows by the operations' IDs, deleted ones too, and keeps others from changing them."""
    unique = list(dict.fromkeys(wanted))
    likely = customer_ids(unique)
    rows = transaction.fetch(_LOCK_BY_CUSTOMER_ID, likely) if likely else []
    found = {row.their_id: row for row in rows}
    others = [id_ for id_ in unique if id_ not in found]
    if others:
        found |= {row.their_id: row for row in transaction.fetch(_LOCK_BY_ID, others)}
    return found


def lock_by_number(transaction: Transaction, wanted: Sequence[int]) -> dict[int, OperationPart]:
    """Returns rows by number, and keeps others from changing them."""
    if not wanted:
        return {}
    rows = transaction.fetch(_LOCK_BY_NUMBER, list(dict.fromkeys(wanted)))
    return {row.n: row for row in rows}


def end(transaction: Transaction, endings: Sequence[Ending]) -> list[Operation]:
    """Ends operations.

    The customer of a failed Invite is deleted, with its invitation and links, unless the invitation
    has ended otherwise. A failed resend is undone: the invitation is as it was before. What was
    answered had arrived, so its operation has not failed.
    """
    failed = [ending.row for ending in endings if ending.failure]
    states = _lock_customers(transaction, [row.customer for row in failed])
    ended = []
    changes: list[tuple[int, dict[str, Any]]] = []
    for row, failure, now in endings:
        if failure and states.get(row.customer) in ANSWERED:
            failure = None
        at = max(now, row.modified_at)  # clocks differ
        text = failure_json(failure) if failure else None
        changes.append((row.n, {"failure": text, "now": at}))
        before = operation(transaction, row)
        ended.append(before._replace(done=True, failure=failure, modified_at=from_micros(at)))
    transaction.run_each(_END, changes)
    undone = [row for row in failed if states.get(row.customer) is InvitationState.PENDING]
    _delete_failed_invites(transaction, [row for row in undone if row.kind == _INVITE])
    _undo_resends(transaction, [row for row in undone if row.kind == _RESEND])
    transaction.ended += [result.id for result in ended]
    return ended


def _lock_customers(
    transaction: Transaction, numbers: Sequence[CustomerNumber]
) -> dict[CustomerNumber, InvitationState]:
    """Returns the states of invitations, and keeps others from changing them."""
    rows = transaction.fetch(_LOCK_CUSTOMERS, numbers) if numbers else []
    return {row.n: INVITATION_STATES[row.invitation] for row in rows if row.invitation}


def _delete_failed_invites(transaction: Transaction, failed: Sequence[OperationPart]) -> None:
    if not failed:
        return
    # The operation stays, and names the customer that it could not make.
    kept = []
    for row in failed:
        whole = operation(transaction, row)
        ids = {
            "operation_id": whole.id,
            "customer_id": whole.customer_id,
            "account_id": whole.billing_account_id,
        }
        kept.append((row.n, ids))
    transaction.run_each(_KEEP_IDS, kept)
    numbers = [row.customer for row in failed]
    transaction.run(_DELETE_CUSTOMERS, numbers)
    transaction.run(_DELETE_LINKS, numbers)
    take_customers_back(transaction, [reseller_id(transaction, row.reseller) for row in failed])


def _undo_resends(transaction: Transaction, failed: Sequence[OperationPart]) -> None:
    """Makes the links hold again that were sent before, and with them those of the failed tries.

    Their e-mails may have arrived all the same.
    """
    if not failed:
        return
    numbers = [row.customer for row in failed]
    before = {row.n: row.latest for row in transaction.fetch(_UNDO_RESENDS, numbers)}
    transaction.run_each(
        _HAND_LINKS_OVER,
        [
            (row.customer, {"failed": row.n, "holds": before[row.customer]})
            for row in failed
            if row.customer in before
        ],
    )
