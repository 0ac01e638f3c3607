"""What happens to invitations after they were made: answered, sent again, revoked, expired.

Rows are locked in the order invitations, customers; `endings` goes operations, invitations,
customers. So an operation is only touched here if nobody holds it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, case, select, update

from server.domain.customers import CustomerState
from server.domain.errors import BillingError
from server.domain.invitations import (
    CUSTOMER_STATES,
    Invitation,
    InvitationAction,
    InvitationState,
    InvitationT,
    InvitationView,
    as_of,
    resent_too_soon,
    state_after,
)
from server.domain.operations import Operation
from server.storage.idempotency import Keys, KeyUse
from server.storage.operations import by_id
from server.storage.rows import INVITATION_COLUMNS, invitation, microseconds, operation_row
from server.storage.schema import customers, link_tokens, operations, resellers
from server.storage.schema import invitations as table
from server.storage.statements import IDS, Insert, Statement, Transaction

_BY_LINK = (
    select(link_tokens.c.token_hash, *INVITATION_COLUMNS, resellers.c.name, customers.c.name)
    .join_from(
        link_tokens,
        table,
        and_(
            table.c.id == link_tokens.c.invitation_id,
            table.c.latest_operation_id == link_tokens.c.operation_id,
        ),
    )
    .join(resellers, resellers.c.id == table.c.reseller_id)
    .join(customers, customers.c.id == table.c.customer_id)
    .where(link_tokens.c.token_hash.in_(IDS))
)
_LOOK_UP = Statement(_BY_LINK)
# In one order, so that two batches don't wait for each other.
_LOCK_BY_LINK = Statement(_BY_LINK.order_by(table.c.id).with_for_update(of=table))
_BY_ID = select(*INVITATION_COLUMNS).where(table.c.id.in_(IDS))
_GET = Statement(_BY_ID)
_LOCK = Statement(_BY_ID.order_by(table.c.id).with_for_update())
_END = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(state=bindparam("state"), ended_at=bindparam("at"), open_key=None),
    "state",
    "at",
)
_CHANGE_CUSTOMERS = Statement(
    update(customers)
    .where(customers.c.id.in_(IDS), customers.c.state == CustomerState.ACCEPTANCE_REQUIRED.value)
    .values(
        state=bindparam("state"),
        # Clocks differ.
        modified_at=case(
            (customers.c.modified_at > bindparam("at"), customers.c.modified_at),
            else_=bindparam("at"),
        ),
    ),
    "state",
    "at",
)
_LET_END = Statement(
    update(operations)
    .where(
        operations.c.id.in_(
            select(operations.c.id)
            .where(operations.c.id.in_(IDS), ~operations.c.done, ~operations.c.claimed)
            .with_for_update(skip_locked=True)
        )
    )
    .values(due_at=bindparam("at"))
    .returning(operations.c.id),
    "at",
)
_RESEND = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(
        latest_operation_id=bindparam("operation_id"),
        resent_at=bindparam("at"),
        expires_at=bindparam("until"),
    ),
    "operation_id",
    "at",
    "until",
)
_INSERT_OPERATIONS = Insert(operations)
_has_lapsed = and_(table.c.open_key.is_not(None), table.c.expires_at <= bindparam("now"))
_LAPSED = Statement(
    select(table.c.id)
    .where(_has_lapsed)
    .order_by(table.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "now",
    "limit",
)
_EXPIRE = Statement(
    update(table)
    .where(table.c.id.in_(IDS), _has_lapsed)
    .values(state=InvitationState.EXPIRED.value, ended_at=table.c.expires_at, open_key=None)
    .returning(table.c.customer_id),
    "now",
)

# While an e-mail is on its way, this is how soon it may have left.
_ON_ITS_WAY_S = 1.0


class Answer(NamedTuple):
    """What the invitee says, by the link."""

    token_hash: bytes
    action: InvitationAction
    now: datetime
    use: KeyUse | None


class Revocation(NamedTuple):
    """What the reseller takes back."""

    invitation_id: str
    now: datetime
    use: KeyUse | None


class Resending(NamedTuple):
    """What the reseller has sent again, at the operation's time."""

    invitation_id: str
    operation: Operation
    expires_at: datetime
    interval: timedelta
    use: KeyUse | None


class Expiry(NamedTuple):
    """How much to expire at once."""

    now: int
    limit: int


def look_up(transaction: Transaction, batch: Sequence[bytes]) -> list[InvitationView | None]:
    """Returns what links lead to; see Storage.look_up_invitation."""
    found = {bytes(row[0]): _view(row[1:]) for row in transaction.fetch(_LOOK_UP, list(set(batch)))}
    return [found.get(token_hash) for token_hash in batch]


def get(transaction: Transaction, ids: Sequence[str]) -> list[Invitation | None]:
    """Returns invitations; see Storage.get_invitation."""
    found = {row[0]: invitation(row) for row in transaction.fetch(_GET, list(dict.fromkeys(ids)))}
    return [found.get(id_) for id_ in ids]


def answer(
    transaction: Transaction, batch: Sequence[Answer]
) -> list[InvitationView | Exception | None]:
    """Records answers; see Storage.answer_invitation."""
    ids: dict[bytes, str] = {}
    rows: dict[str, InvitationView] = {}
    for row in transaction.fetch(_LOCK_BY_LINK, list({each.token_hash for each in batch})):
        view = _view(row[1:])
        ids[bytes(row[0])] = view.id
        rows[view.id] = view
    keys = _keys(transaction, batch)
    outcomes: list[InvitationView | Exception | None] = []
    for each in batch:
        id_ = ids.get(each.token_hash)
        try:
            replayed = keys.replayed(each.use)
            if id_ and not replayed:
                rows[id_] = _after(transaction, rows[id_], each.action, each.now)
                keys.record(each.use, id_)
        except BillingError as error:
            outcomes.append(error)
        else:
            outcomes.append(rows[id_] if id_ else None)
    keys.write()
    return outcomes


def revoke(
    transaction: Transaction, batch: Sequence[Revocation]
) -> list[Invitation | Exception | None]:
    """Revokes invitations; see Storage.revoke_invitation."""
    rows = _lock(transaction, [each.invitation_id for each in batch])
    keys = _keys(transaction, batch)
    outcomes: list[Invitation | Exception | None] = []
    for each in batch:
        id_ = each.invitation_id
        try:
            if not keys.replayed(each.use) and id_ in rows:
                rows[id_] = _after(transaction, rows[id_], InvitationAction.REVOKE, each.now)
                keys.record(each.use, id_)
        except BillingError as error:
            outcomes.append(error)
        else:
            outcomes.append(rows.get(id_))
    keys.write()
    return outcomes


def resend(
    transaction: Transaction, batch: Sequence[Resending]
) -> list[Operation | Exception | None]:
    """Has e-mails sent again; see Storage.resend_invitation."""
    rows = _lock(transaction, [each.invitation_id for each in batch])
    keys = _keys(transaction, batch)
    outcomes: list[Operation | Exception | None] = []
    for each in batch:
        row = rows.get(each.invitation_id)
        outcome: Operation | None = None
        try:
            replayed = keys.replayed(each.use)
            if replayed:
                outcome = by_id(transaction, [replayed])[replayed]
            elif row:
                outcome = each.operation
                rows[row.id] = _resent(transaction, row, each)
                keys.record(each.use, outcome.id)
        except BillingError as error:
            outcomes.append(error)
        else:
            outcomes.append(outcome)
    keys.write()
    return outcomes


def expire(transaction: Transaction, batch: Sequence[Expiry]) -> list[int]:
    """Expires what has lapsed; see Storage.expire_invitations."""
    return [
        expire_by_id(
            transaction,
            [id_ for (id_,) in transaction.fetch(_LAPSED, now=each.now, limit=each.limit)],
            each.now,
        )
        for each in batch
    ]


def expire_by_id(transaction: Transaction, ids: Sequence[str], now: int) -> int:
    """Records the expiry of those that have lapsed and are still pending; returns of how many."""
    if not ids:
        return 0
    customer_ids = [id_ for (id_,) in transaction.fetch(_EXPIRE, ids, now=now)]
    if customer_ids:
        _change_customers(transaction, customer_ids, InvitationState.EXPIRED, now)
    return len(customer_ids)


def _keys(transaction: Transaction, batch: Sequence[Answer | Revocation | Resending]) -> Keys:
    """Reads the keys of a batch whose rows are locked.

    What another transaction did with one of them while this one waited is then seen as a repeat.
    """
    return Keys(transaction, (each.use for each in batch))


def _lock(transaction: Transaction, ids: Sequence[str]) -> dict[str, Invitation]:
    """Returns rows by ID, and keeps others from changing them."""
    return {row[0]: invitation(row) for row in transaction.fetch(_LOCK, list(dict.fromkeys(ids)))}


def _after(
    transaction: Transaction, row: InvitationT, action: InvitationAction, now: datetime
) -> InvitationT:
    """Ends a locked invitation unless that is done already; returns it. Raises INVITATION_STATE."""
    before = as_of(row, now)
    state = state_after(action, before.state)
    if state is before.state:
        return before
    ended_at = max(now, row.created_at)  # clocks differ
    at = microseconds(ended_at)
    transaction.run(_END, [row.id], state=state, at=at)
    _change_customers(transaction, [row.customer_id], state, at)
    # What is still to be sent will not be: the operation ends when a worker takes it up.
    if transaction.fetch(_LET_END, [row.latest_operation_id], at=at):
        transaction.work = True
    return replace(row, state=state, open_key=None, ended_at=ended_at)


def _resent(transaction: Transaction, row: Invitation, wanted: Resending) -> Invitation:
    """Has a locked invitation's e-mail sent again. Raises INVITATION_STATE, RESENT_TOO_SOON."""
    operation = wanted.operation
    now = operation.created_at
    state_after(InvitationAction.RESEND, as_of(row, now).state)
    if row.resent_at and row.resent_at + wanted.interval > now:
        raise resent_too_soon((row.resent_at + wanted.interval - now).total_seconds())
    latest = by_id(transaction, [row.latest_operation_id]).get(row.latest_operation_id)
    if latest and not latest.done:  # a cleared one was
        raise resent_too_soon(_ON_ITS_WAY_S)
    at = microseconds(now)
    transaction.run(
        _RESEND,
        [row.id],
        operation_id=operation.id,
        at=at,
        until=microseconds(wanted.expires_at),
    )
    transaction.insert(_INSERT_OPERATIONS, [operation_row(operation, row.id, due_at=at)])
    transaction.work = True
    return replace(
        row, latest_operation_id=operation.id, resent_at=now, expires_at=wanted.expires_at
    )


def _change_customers(
    transaction: Transaction, ids: Sequence[str], state: InvitationState, at: int
) -> None:
    transaction.run(_CHANGE_CUSTOMERS, ids, state=CUSTOMER_STATES[state], at=at)


def _view(row: tuple[Any, ...]) -> InvitationView:
    found = invitation(row[: len(INVITATION_COLUMNS)])
    values = [getattr(found, name) for name in Invitation.__dataclass_fields__]
    return InvitationView(*values, *row[len(INVITATION_COLUMNS) :])
