"""What the two sides do with invitations: answer, revoke, send again.

Rows are locked in the order invitations, customers; `endings` goes operations, invitations,
customers. So an operation is only touched here if nobody holds it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.addresses import address_key
from server.domain.errors import BillingError
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    as_of,
    held_by_reseller,
    resent_too_soon,
    state_after,
)
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage.counts import Counts
from server.storage.expiry import change_customers
from server.storage.idempotency import Keys, KeyUse
from server.storage.operations import by_id
from server.storage.rows import (
    INSERT_OPERATIONS,
    INVITATION_COLUMNS,
    IS_HELD,
    deferral_text,
    invitation,
    microseconds,
    operation_row,
)
from server.storage.schema import invitations as table
from server.storage.schema import link_tokens, operations, resellers
from server.storage.statements import IDS, Statement, Transaction

_LINKS = Statement(
    select(link_tokens.c.token_hash, link_tokens.c.invitation_id, link_tokens.c.operation_id).where(
        link_tokens.c.token_hash.in_(IDS)
    )
)
_LOCK = Statement(
    select(*INVITATION_COLUMNS, IS_HELD)
    .join_from(table, resellers, resellers.c.id == table.c.reseller_id)
    .where(table.c.id.in_(IDS))
    .order_by(table.c.id)  # in one order, so that two batches don't wait for each other
    .with_for_update(of=table)
)
_END = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(state=bindparam("state"), ended_at=bindparam("at"), open_key=None),
    "state",
    "at",
)


def _make_due(**values: Any) -> Statement:
    """Returns what makes those due that nobody is at work on, and returns their IDs."""
    return Statement(
        update(operations)
        .where(
            operations.c.id.in_(
                select(operations.c.id)
                .where(operations.c.id.in_(IDS), ~operations.c.done, ~operations.c.claimed)
                .with_for_update(skip_locked=True)
            )
        )
        .values(due_at=bindparam("at"), **values)
        .returning(operations.c.id),
        "at",
        *values,
    )


_LET_END = _make_due()
_TRY_NOW = _make_due(deferral=bindparam("deferral"))
_PROLONG = Statement(
    update(table).where(table.c.id.in_(IDS)).values(expires_at=bindparam("until")), "until"
)
_RESEND = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(
        latest_operation_id=bindparam("operation_id"),
        resent_at=bindparam("at"),
        expires_at=bindparam("until"),
        previous_operation_id=table.c.latest_operation_id,
        previous_resent_at=table.c.resent_at,
        previous_expires_at=table.c.expires_at,
    ),
    "operation_id",
    "at",
    "until",
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
    limits: Limits


class _Link(NamedTuple):
    """Where a link leads, if it is still the operation's that sent the latest e-mail."""

    invitation_id: str
    operation_id: str


Deed = Answer | Revocation | Resending
# An answered or revoked invitation, or a resend's operation; None: no such thing.
Outcome = Invitation | Operation | None


def act(transaction: Transaction, batch: Sequence[Deed]) -> list[Outcome | Exception]:
    """Does what the two sides ask for; see Storage.answer_invitation, _revoke_ and _resend_.

    All deeds of a batch are done here, in their order, so that what they are about is locked at
    once and in one order.
    """
    return _Acts(transaction, batch).outcomes()


class _Acts:
    """The deeds of one batch, and the rows that they change."""

    def __init__(self, transaction: Transaction, batch: Sequence[Deed]) -> None:
        self._transaction = transaction
        self._batch = batch
        self._links = _links(transaction, batch)
        ids = [link.invitation_id for link in self._links.values()]
        ids += [each.invitation_id for each in batch if not isinstance(each, Answer)]
        self._rows, self._held = _lock(transaction, ids)
        # After the lock: what another transaction did with a key while this one waited for it is
        # then seen as a repeat.
        self._keys = Keys(transaction, (each.use for each in batch))
        self._counts = self._mail_counts([each for each in batch if isinstance(each, Resending)])

    def _mail_counts(self, resent: Sequence[Resending]) -> Counts | None:
        """Returns what the e-mails of a batch are counted by, if it sends any."""
        rows = [row for each in resent if (row := self._rows.get(each.invitation_id))]
        if not rows:
            return None
        return Counts(
            self._transaction,
            resent[0].limits,
            microseconds(resent[0].operation.created_at),
            [(row.reseller_id, address_key(row.email)) for row in rows],
        )

    def outcomes(self) -> list[Outcome | Exception]:
        """Does it all."""
        outcomes: list[Outcome | Exception] = []
        for each in self._batch:
            try:
                outcomes.append(self._outcome(each))
            except BillingError as error:
                outcomes.append(error)
        self._keys.write()
        return outcomes

    def _outcome(self, deed: Deed) -> Outcome:
        replayed = self._keys.replayed(deed.use)
        if replayed and isinstance(deed, Resending):
            return by_id(self._transaction, [replayed])[replayed]
        link = self._links.get(deed.token_hash) if isinstance(deed, Answer) else None
        row = self._row(deed, link)
        if row is None:
            return None
        if isinstance(deed, Resending):
            self._rows[row.id], operation = _resent(self._transaction, self._counts, row, deed)
            if operation.id == deed.operation.id:
                self._keys.record(deed.use, operation.id)
            else:
                self._keys.record_later(deed.use, operation.id)
            return operation
        if not replayed:
            action = InvitationAction.REVOKE
            if isinstance(deed, Answer):
                action = deed.action
                if row.id in self._held and as_of(row, deed.now).state is InvitationState.PENDING:
                    raise held_by_reseller()
            row = self._rows[row.id] = _ended(self._transaction, row, action, deed.now)
            self._keys.record(deed.use, row.id)
        return row

    def _row(self, deed: Deed, link: _Link | None) -> Invitation | None:
        if not isinstance(deed, Answer):
            return self._rows.get(deed.invitation_id)
        row = self._rows.get(link.invitation_id) if link else None
        holds = row and link and row.latest_operation_id == link.operation_id
        return row if holds else None


def _links(transaction: Transaction, batch: Sequence[Deed]) -> dict[bytes, _Link]:
    hashes = {each.token_hash for each in batch if isinstance(each, Answer)}
    rows = transaction.fetch(_LINKS, list(hashes)) if hashes else []
    return {bytes(token_hash): _Link(*rest) for token_hash, *rest in rows}


def _lock(
    transaction: Transaction, ids: Sequence[str]
) -> tuple[dict[str, Invitation], frozenset[str]]:
    """Returns rows by ID, and which are held, and keeps others from changing them."""
    rows = transaction.fetch(_LOCK, list(dict.fromkeys(ids))) if ids else []
    held = frozenset(row[0] for row in rows if row[-1])
    return {row[0]: invitation(row[:-1]) for row in rows}, held


def _ended(
    transaction: Transaction, row: Invitation, action: InvitationAction, now: datetime
) -> Invitation:
    """Ends a locked invitation unless that is done already; returns it. Raises INVITATION_STATE."""
    before = as_of(row, now)
    state = state_after(action, before.state)
    if state is before.state:
        return before
    ended_at = max(now, row.created_at)  # clocks differ
    at = microseconds(ended_at)
    transaction.run(_END, [row.id], state=state, at=at)
    change_customers(transaction, [row.customer_id], state, at)
    # What is still to be sent will not be: the operation ends when a worker takes it up.
    if transaction.fetch(_LET_END, [row.latest_operation_id], at=at):
        transaction.work = True
    return row._replace(state=state, open_key=None, ended_at=ended_at)


def _resent(
    transaction: Transaction, counts: Counts | None, row: Invitation, wanted: Resending
) -> tuple[Invitation, Operation]:
    """Has a locked invitation's e-mail sent again; returns it, and the operation that does so.

    Raises INVITATION_STATE, RESENT_TOO_SOON, MAIL_LIMIT_REACHED.
    """
    operation = wanted.operation
    now = operation.created_at
    state_after(InvitationAction.RESEND, as_of(row, now).state)
    if row.resent_at:
        _require_pause(row.resent_at, wanted)
    until = microseconds(wanted.expires_at)
    latest = by_id(transaction, [row.latest_operation_id]).get(row.latest_operation_id)
    transaction.work = True
    if latest and not latest.done:  # a cleared one was
        operation = _tried_now(transaction, latest, wanted)
        transaction.run(_PROLONG, [row.id], until=until)
        return row._replace(expires_at=wanted.expires_at), operation
    at = due_at = microseconds(now)
    if counts:
        due_at = counts.resend(row.reseller_id, address_key(row.email), at)
    transaction.run(_RESEND, [row.id], operation_id=operation.id, at=at, until=until)
    transaction.insert(INSERT_OPERATIONS, [operation_row(operation, row.id, due_at=due_at)])
    resent = row._replace(
        latest_operation_id=operation.id, resent_at=now, expires_at=wanted.expires_at
    )
    return resent, operation


def _require_pause(since: datetime, wanted: Resending) -> None:
    """Raises RESENT_TOO_SOON unless the interval is over."""
    left = since + wanted.interval - wanted.operation.created_at
    if left > timedelta():
        raise resent_too_soon(left.total_seconds())


def _tried_now(transaction: Transaction, operation: Operation, wanted: Resending) -> Operation:
    """Has an e-mail tried at once that waits for its next try; returns the operation.

    Raises RESENT_TOO_SOON where it has not been tried yet, is being tried, or just was.
    """
    if operation.deferral:
        _require_pause(operation.modified_at, wanted)
        now = wanted.operation.created_at
        deferral = operation.deferral._replace(next_attempt_at=now)
        values = {"at": microseconds(now), "deferral": deferral_text(deferral)}
        if transaction.fetch(_TRY_NOW, [operation.id], **values):
            return operation._replace(deferral=deferral)
    raise resent_too_soon(_ON_ITS_WAY_S)
