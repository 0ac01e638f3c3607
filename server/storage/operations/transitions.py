"""How operations end; whoever ends one has locked its row.

Rows are locked in the order operations, customers. What is done to invitations locks customers first,
so it touches an operation only if nobody holds it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, select, update

from server.domain.access import SERVICE, Actor
from server.domain.errors import Reason
from server.domain.events import EventType
from server.domain.invitations import ANSWERED, InvitationState
from server.domain.operations import Failure, Operation, OperationKind
from server.storage.counts import take_customers_back
from server.storage.customer_rows import INVITATION_PART, InvitationPart
from server.storage.events.log import DERIVED, NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.operations.outcomes import delivery_problem, record_refused, record_sent
from server.storage.operations.read import customer_ids
from server.storage.operations.rows import (
    OPERATION_PART,
    WITH_CUSTOMERS,
    OperationPart,
    failure_json,
    operation,
)
from server.storage.operations.rows import actor as actor_in
from server.storage.resellers import reseller_id
from server.storage.schema.codes import (
    INVITATION_STATES,
    OPERATION_KIND_CODES,
)
from server.storage.schema.tables import (
    CustomerNumber,
    customers,
    link_tokens,
    operations,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros

_INVITE = OPERATION_KIND_CODES[OperationKind.INVITE]
_RESEND = OPERATION_KIND_CODES[OperationKind.RESEND]
_SERVICE = Actor(SERVICE)


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


_LOCK_CUSTOMERS = Query(
    InvitationPart,
    select(*INVITATION_PART)
    .where(customers.c.n.in_(IDS))
    .order_by(customers.c.n)
    .with_for_update(),
)
_DELETE_CUSTOMERS = Statement(delete(customers).where(customers.c.n.in_(IDS)))
_DELETE_LINKS = Statement(delete(link_tokens).where(link_tokens.c.customer.in_(IDS)))


_UNDO_RESENDS = Query(
    InvitationPart,
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
    .returning(*INVITATION_PART),
)
_HAND_LINKS_OVER = Statement(
    update(link_tokens)
    .where(link_tokens.c.customer.in_(IDS), link_tokens.c.operation == bindparam("failed"))
    .values(operation=bindparam("holds")),
    "failed",
    "holds",
)


class Ending(NamedTuple):
    """What is to end: a locked operation, with a failure or without one, at its time.

    `actor` is who cancels it, where that is not in the row.
    """

    row: OperationPart
    failure: Failure | None
    now: Micros
    actor: Actor | None = None


def lock_by_id(transaction: Transaction, wanted: Sequence[str]) -> dict[str, OperationPart]:
    """Returns rows by the operations' IDs, deleted ones too, and keeps others from changing them."""
    unique = list(dict.fromkeys(wanted))
    likely = customer_ids(unique)
    rows = transaction.fetch(_LOCK_BY_CUSTOMER_ID, likely) if likely else []
    found = {row.public_id: row for row in rows}
    others = [id_ for id_ in unique if id_ not in found]
    if others:
        found |= {row.public_id: row for row in transaction.fetch(_LOCK_BY_ID, others)}
    return found


def lock_by_number(transaction: Transaction, wanted: Sequence[int]) -> dict[int, OperationPart]:
    """Returns rows by number, and keeps others from changing them."""
    if not wanted:
        return {}
    rows = transaction.fetch(_LOCK_BY_NUMBER, list(dict.fromkeys(wanted)))
    return {row.n: row for row in rows}


def end(transaction: Transaction, endings: Sequence[Ending]) -> list[Operation]:
    """Ends operations, each with its event.

    The customer of a failed Invite is deleted, with its invitation and links, unless the invitation
    has ended otherwise. A failed resend is undone: the invitation is as it was before. What was
    answered had arrived, so its operation has not failed.
    """
    invited = _lock_customers(transaction, [ending.row.customer for ending in endings])
    states = {n: INVITATION_STATES[row.invitation] for n, row in invited.items()}
    endings = [
        ending._replace(failure=None) if states.get(ending.row.customer) in ANSWERED else ending
        for ending in endings
    ]
    ended = []
    changes: list[tuple[int, dict[str, Any]]] = []
    for row, failure, now, _ in endings:
        at = max(now, row.modified_at)  # clocks differ
        text = failure_json(failure) if failure else None
        changes.append((row.n, {"failure": text, "now": at}))
        before = operation(transaction, row)
        ended.append(before._replace(done=True, failure=failure, modified_at=from_micros(at)))
    transaction.run_each(_END, changes)
    undone = [
        ending.row
        for ending in endings
        if ending.failure and states.get(ending.row.customer) is InvitationState.PENDING
    ]
    taken_back = [row for row in undone if row.kind == _INVITE]
    _delete_failed_invites(transaction, taken_back)
    resends = [row for row in undone if row.kind == _RESEND]
    invited |= _undo_resends(transaction, resends)
    record_refused(
        transaction,
        invited,
        [(each.row, each.failure) for each in endings if each.failure and each.row in resends],
    )
    record_sent(
        transaction,
        invited,
        [(each.row, each.now) for each in endings if not each.failure and each.row.attempts],
    )
    gone = {row.customer for row in taken_back}
    for ending in endings:
        customer = invited.get(ending.row.customer)
        if customer:
            _log(transaction, ending, customer, gone=customer.n in gone)
    transaction.ended += [result.id for result in ended]
    return ended


def _log(transaction: Transaction, ending: Ending, customer: InvitationPart, *, gone: bool) -> None:
    """Logs the end of an operation, whose customer, as it is now, may be gone.

    Where the invitation was answered by another link before its e-mail went out, none is sent.
    """
    row, failure, now, canceller = ending
    if not failure and not row.attempts:
        return
    type_, actor = EventType.INVITATION_SENT, _SERVICE
    if failure and failure.reason is Reason.OPERATION_CANCELLED:
        type_ = EventType.INVITATION_CANCELLED
        actor = canceller or (actor_in(row.cancelled_by) if row.cancelled_by else actor)
    elif failure:
        type_ = EventType.INVITATION_UNDELIVERABLE
    at = max(now, row.modified_at)
    data = invitation_json(
        customer,
        taken_back_at=at if gone else None,
        problem=delivery_problem(failure) if failure else None,
    )
    operation_id = DERIVED if row.id is None else row.id
    log(transaction, NewEvent(row.reseller, type_, at, actor, data, customer.n, operation_id))


def _lock_customers(
    transaction: Transaction, numbers: Sequence[CustomerNumber]
) -> dict[CustomerNumber, InvitationPart]:
    """Returns invitations by customer, and keeps others from changing them."""
    rows = transaction.fetch(_LOCK_CUSTOMERS, numbers) if numbers else []
    return {row.n: row for row in rows if row.invitation}


def keep_ids(transaction: Transaction, kept: Sequence[tuple[int, Operation]]) -> None:
    """Has operations name their customers, which are about to be deleted, by themselves."""
    rows = []
    for number, whole in kept:
        ids = {
            "operation_id": whole.id,
            "customer_id": whole.customer_id,
            "account_id": whole.billing_account_id,
        }
        rows.append((number, ids))
    transaction.run_each(_KEEP_IDS, rows)


def _delete_failed_invites(transaction: Transaction, failed: Sequence[OperationPart]) -> None:
    if not failed:
        return
    # The operation stays, and names the customer that it could not make.
    keep_ids(transaction, [(row.n, operation(transaction, row)) for row in failed])
    numbers = [row.customer for row in failed]
    transaction.run(_DELETE_CUSTOMERS, numbers)
    transaction.run(_DELETE_LINKS, numbers)
    take_customers_back(transaction, [reseller_id(transaction, row.reseller) for row in failed])


def _undo_resends(
    transaction: Transaction, failed: Sequence[OperationPart]
) -> dict[CustomerNumber, InvitationPart]:
    """Makes the links hold again that were sent before, and with them those of the failed tries.

    Their e-mails may have arrived all the same. Returns the invitations that are as before.
    """
    if not failed:
        return {}
    numbers = [row.customer for row in failed]
    before = {row.n: row for row in transaction.fetch(_UNDO_RESENDS, numbers)}
    transaction.run_each(
        _HAND_LINKS_OVER,
        [
            (row.customer, {"failed": row.n, "holds": before[row.customer].latest})
            for row in failed
            if row.customer in before
        ],
    )
    return before
