"""What the two sides do with invitations: answer, revoke, send again, make links.

Rows are locked in the order customers, operations; `operations.transitions` goes the other way. So an
operation is only touched here if nobody holds it.

Longer than others: all actions share their locks and their second looks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.customers import CustomerState
from server.domain.events import EventType
from server.domain.invitations import (
    CUSTOMER_STATES,
    MOST_LINKS,
    Invitation,
    InvitationAction,
    InvitationState,
    as_of,
    held_by_reseller,
    link_limit_reached,
    link_shown_once,
    mail_under_way,
    resent_too_soon,
    state_after,
)
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage import numbers
from server.storage.counts import Counts
from server.storage.customer_rows import LOCK_INVITATIONS, InvitationPart, invitation
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.invitations.addresses import ended_slot
from server.storage.invitations.correct import Correction, correct
from server.storage.invitations.links import INSERT_LINKS, count_links, link_hash, link_number
from server.storage.invitations.read import find_invitations, find_links
from server.storage.keys import KeyedRequest, Keys, Target, answer_each
from server.storage.operations.read import by_number, find_by_number
from server.storage.operations.rows import INSERT_OTHERS, deferral_json, operation_row
from server.storage.resellers import IS_HELD, reseller_id
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    INVITATION_STATE_CODES,
    INVITATION_TARGET,
    OPERATION_TARGET,
)
from server.storage.schema.tables import (
    CustomerNumber,
    LinkRow,
    OperationNumber,
    ResellerNumber,
    customers,
    operations,
    resellers,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, micros

_WAITING = CUSTOMER_STATE_CODES[CustomerState.ACCEPTANCE_REQUIRED]


class _Reseller(NamedTuple):
    n: ResellerNumber


# Of those that are held.
_HELD = Query(_Reseller, select(resellers.c.n).where(resellers.c.n.in_(IDS), IS_HELD))
END_INVITATION = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(
        invitation=bindparam("invitation"),
        ended_at=bindparam("at"),
        slot=bindparam("slot"),
        state=bindparam("state"),
        modified_at=bindparam("modified_at"),
    ),
    *("invitation", "at", "slot", "state", "modified_at"),
)


class _Number(NamedTuple):
    n: OperationNumber


def _make_due(**values: Any) -> Query[_Number]:
    """Returns what makes those due that nobody is at work on, and returns their numbers."""
    free = (
        select(operations.c.n)
        .where(operations.c.n.in_(IDS), ~operations.c.done, ~operations.c.claimed)
        .with_for_update(skip_locked=True)
    )
    changed = (
        update(operations)
        .where(operations.c.n.in_(free))
        .values(due_at=bindparam("at"), **values)
        .returning(operations.c.n)
    )
    return Query(_Number, changed, "at", *values)


MAKE_DUE_NOW = _make_due()
_TRY_NOW = _make_due(deferral=bindparam("deferral"))
_PROLONG = Statement(
    update(customers).where(customers.c.n.in_(IDS)).values(expires_at=bindparam("until")), "until"
)
_RESEND = Statement(
    update(customers)
    .where(customers.c.n.in_(IDS))
    .values(
        latest=bindparam("latest"),
        resent_at=bindparam("at"),
        expires_at=bindparam("until"),
        previous_latest=customers.c.latest,
        previous_resent_at=customers.c.resent_at,
        previous_expires_at=customers.c.expires_at,
    ),
    *("latest", "at", "until"),
)

_ENDED = {
    InvitationState.ACCEPTED: EventType.INVITATION_ACCEPTED,
    InvitationState.DECLINED: EventType.INVITATION_DECLINED,
    InvitationState.REVOKED: EventType.INVITATION_REVOKED,
}


class Answer(NamedTuple):
    """What the invitee says, by the link."""

    token_hash: bytes
    action: InvitationAction
    now: datetime
    actor: Actor
    use: KeyedRequest | None


class Revocation(NamedTuple):
    """What the reseller takes back."""

    invitation_id: str
    now: datetime
    actor: Actor
    use: KeyedRequest | None


class Resend(NamedTuple):
    """What the reseller has sent again, at the operation's time."""

    invitation_id: str
    operation: Operation
    expires_at: datetime
    interval: timedelta
    actor: Actor
    use: KeyedRequest | None
    limits: Limits
    origin: str | None


class NewLink(NamedTuple):
    """The secret, by its hash, of a link that the reseller hands over itself."""

    invitation_id: str
    token_hash: bytes
    now: datetime
    actor: Actor
    use: KeyedRequest | None


Command = Answer | Revocation | Resend | Correction | NewLink
# An invitation after what was done to it, or a resend's operation; None: no such thing.
Outcome = Invitation | Operation | None


def act(transaction: Transaction, batch: Sequence[Command]) -> list[Outcome | Exception]:
    """Does what the two sides ask for; see InvitationStorage.answer_, revoke_ and resend_invitation.

    All commands of a batch are done here, in their order, so that what they are about is locked at
    once and in one order.
    """
    return _Batch(transaction, batch).outcomes()


class _Batch:
    """The commands of one batch, and the rows that they change."""

    def __init__(self, transaction: Transaction, commands: Sequence[Command]) -> None:
        self._transaction = transaction
        self._commands = commands
        hashes = [each.token_hash for each in commands if isinstance(each, Answer)]
        self._links = find_links(transaction, hashes) if hashes else {}
        named = [each.invitation_id for each in commands if not isinstance(each, Answer)]
        found = find_invitations(transaction, named) if named else {}
        self._by_id = {id_: row.n for id_, row in found.items()}
        self._rows = _lock(
            transaction, [*self._by_id.values(), *(link.customer for link in self._links.values())]
        )
        asked = {
            self._rows[link.customer].reseller
            for link in self._links.values()
            if link.customer in self._rows
        }
        held = transaction.fetch(_HELD, list(asked)) if asked else []
        self._held = {reseller.n for reseller in held}
        # After the lock: what another transaction did with a key while this one waited for it is
        # then seen as a repeat.
        self._keys = Keys(transaction, [each.use for each in commands])
        sends = [each for each in commands if isinstance(each, Resend | Correction)]
        self._counts = self._mail_counts([each for each in sends if not each.operation.done])

    def _mail_counts(self, resends: Sequence[Resend | Correction]) -> Counts | None:
        """Returns what the e-mails of a batch are counted by, if it sends any."""
        rows = [(row, each) for each in resends if (row := self._row(each))]
        if not rows:
            return None
        return Counts(
            self._transaction,
            resends[0].limits,
            micros(resends[0].operation.created_at),
            [
                (
                    self._reseller_id(row),
                    address_key(each.email if isinstance(each, Correction) else row.email),
                )
                for row, each in rows
            ],
        )

    def _reseller_id(self, row: InvitationPart) -> str:
        return reseller_id(self._transaction, row.reseller)

    def outcomes(self) -> list[Outcome | Exception]:
        """Does it all."""
        outcomes = answer_each(self._commands, self._keys, self._existing, self._do)
        self._keys.write()
        return outcomes

    def _existing(self, command: Command, target: Target) -> Outcome:
        if isinstance(command, Resend):
            return by_number(self._transaction, target.number)
        if isinstance(command, NewLink):
            raise link_shown_once()
        row = self._row(command)
        return invitation(self._transaction, row) if row else None

    def _do(self, command: Command) -> Outcome:
        row = self._row(command)
        if row is None:
            return None
        if isinstance(command, Resend):
            return self._resend(row, command)
        if isinstance(command, Correction):
            return self._correct(row, command)
        if isinstance(command, NewLink):
            return self._create_link(row, command)
        action = InvitationAction.REVOKE
        if isinstance(command, Answer):
            action = command.action
            self._require_active_reseller(row, command.now)
        ended = self._end(row, action, command)
        self._keys.changed(command.use, INVITATION_TARGET, row.n)
        return ended

    def _row(self, command: Command) -> InvitationPart | None:
        if not isinstance(command, Answer):
            number = self._by_id.get(command.invitation_id)
            return None if number is None else self._rows.get(number)
        link = self._links.get(command.token_hash)
        row = self._rows.get(link.customer) if link else None
        holds = row and link and row.latest == link.operation
        return row if holds else None

    def _end(
        self, row: InvitationPart, action: InvitationAction, command: Answer | Revocation
    ) -> Invitation:
        """Ends a locked invitation unless that is done already. Raises INVITATION_STATE."""
        now = command.now
        before = as_of(invitation(self._transaction, row), now)
        state = state_after(action, before.state)
        if state is before.state:
            return before
        at = max(micros(now), row.created_at)  # clocks differ
        # Only what the invitation has made of the customer so far changes with it.
        waits = row.state == _WAITING
        after = row._replace(
            invitation=INVITATION_STATE_CODES[state],
            ended_at=at,
            state=CUSTOMER_STATE_CODES[CUSTOMER_STATES[state]] if waits else row.state,
            modified_at=max(at, Micros(row.modified_at + 1)) if waits else row.modified_at,
        )
        self._transaction.run(
            END_INVITATION,
            [row.n],
            invitation=after.invitation,
            at=at,
            slot=ended_slot(row.n),
            state=after.state,
            modified_at=after.modified_at,
        )
        # What is still to be sent will not be: the operation ends when a worker takes it up.
        if self._transaction.fetch(MAKE_DUE_NOW, [row.latest], at=at):
            self._transaction.has_work = True
        self._rows[row.n] = after
        self._log(_ENDED[state], at, command.actor, after)
        return invitation(self._transaction, after)

    def _create_link(self, row: InvitationPart, wanted: NewLink) -> Invitation:
        """Makes a link that holds beside the others. Raises INVITATION_STATE, LINK_LIMIT_REACHED."""
        found = invitation(self._transaction, row)
        state_after(InvitationAction.CREATE_LINK, as_of(found, wanted.now).state)
        if count_links(self._transaction, row.n, row.latest) >= MOST_LINKS:
            raise link_limit_reached()
        at, hashed = micros(wanted.now), wanted.token_hash
        link = LinkRow(link_number(hashed), link_hash(hashed), row.n, row.latest, at)
        self._transaction.insert(INSERT_LINKS, [link])
        self._log(EventType.INVITATION_LINK_CREATED, at, wanted.actor, row)
        self._keys.changed(wanted.use, INVITATION_TARGET, row.n)
        return found

    def _resend(self, row: InvitationPart, wanted: Resend) -> Operation:
        """Has an e-mail sent again.

        Where none is sent the operation is done, and the earlier links end all the same.
        Raises INVITATION_STATE, MAIL_UNDER_WAY, RESENT_TOO_SOON, MAIL_LIMIT_REACHED.
        """
        transaction, operation = self._transaction, wanted.operation
        sends = not operation.done
        now = operation.created_at
        before = invitation(transaction, row)
        state_after(InvitationAction.RESEND, as_of(before, now).state)
        if before.resent_at:
            _require_pause(before.resent_at, wanted)
        at, until = micros(now), micros(wanted.expires_at)
        latest = find_by_number(transaction, row.latest)
        transaction.has_work |= sends
        if latest and not latest.done:  # a cleared one was
            tried = self._try_now(row.latest, latest, wanted)
            transaction.run(_PROLONG, [row.n], until=until)
            after = self._rows[row.n] = row._replace(expires_at=until)
            self._log(EventType.INVITATION_RESENT, at, wanted.actor, after, latest.id)
            self._keys.changed(wanted.use, OPERATION_TARGET, row.latest)
            return tried
        due_at = at if sends else None
        if self._counts and sends:
            due_at = self._counts.resend(self._reseller_id(row), address_key(row.email), at)
        (number,) = numbers.draw_numbers(transaction, 1)
        made_number = OperationNumber(number)
        transaction.run(_RESEND, [row.n], latest=made_number, at=at, until=until)
        key = self._keys.made(wanted.use, made_number)
        made = operation_row(
            *(operation, number, row.reseller, row.n, key),
            due_at=due_at,
            with_id=True,
            origin=wanted.origin,
        )
        transaction.insert(INSERT_OTHERS, [made])
        after = row._replace(latest=made_number, resent_at=at, expires_at=until)
        self._rows[row.n] = after
        self._log(EventType.INVITATION_RESENT, at, wanted.actor, after, operation.id)
        return operation

    def _correct(self, row: InvitationPart, wanted: Correction) -> Invitation:
        """Sends it to another address. Raises INVITATION_STATE and what `correct` does."""
        now = wanted.operation.created_at
        before = invitation(self._transaction, row)
        state_after(InvitationAction.CORRECT, as_of(before, now).state)
        if before.email == wanted.email:
            return before
        at = micros(now)
        if self._counts and not wanted.operation.done:
            # What speaks against e-mails to the address comes before what speaks against the invitation.
            self._counts.require_room(self._reseller_id(row), address_key(wanted.email))

        def count(waits: bool) -> Micros | None:
            if wanted.operation.done or not self._counts:
                return None if wanted.operation.done else at
            return self._counts.correct(
                self._reseller_id(row),
                address_key(wanted.email),
                at,
                address_key(row.email),
                row.created_at,
                sent=not (waits and int(row.latest) == row.n),
            )

        after, operation_id = correct(self._transaction, row, wanted, count)
        self._rows[row.n] = after
        self._log(EventType.INVITATION_UPDATED, at, wanted.actor, after, operation_id)
        self._keys.changed(wanted.use, INVITATION_TARGET, row.n)
        return invitation(self._transaction, after)

    def _log(
        self,
        type_: EventType,
        at: Micros,
        actor: Actor,
        row: InvitationPart,
        operation_id: str | None = None,
    ) -> None:
        event = NewEvent(
            *(row.reseller, type_, at, actor, invitation_json(row), row.n, operation_id)
        )
        log(self._transaction, event)

    def _try_now(self, number: OperationNumber, operation: Operation, wanted: Resend) -> Operation:
        """Has an e-mail tried at once that waits for its next try; returns the operation.

        Raises MAIL_UNDER_WAY where it has not been tried yet or is being tried, RESENT_TOO_SOON where
        it just was.
        """
        if operation.deferral:
            _require_pause(operation.modified_at, wanted)
            now = wanted.operation.created_at
            deferral = operation.deferral._replace(next_attempt_at=now)
            values = {"at": micros(now), "deferral": deferral_json(deferral)}
            if self._transaction.fetch(_TRY_NOW, [number], **values):
                return operation._replace(deferral=deferral)
        raise mail_under_way(operation.id)

    def _require_active_reseller(self, row: InvitationPart, now: datetime) -> None:
        """Raises INVITATION_HELD for a pending one whose reseller is suspended or removed."""
        state = as_of(invitation(self._transaction, row), now).state
        if row.reseller in self._held and state is InvitationState.PENDING:
            raise held_by_reseller()


def _require_pause(since: datetime, wanted: Resend) -> None:
    """Raises RESENT_TOO_SOON unless the interval is over."""
    left = since + wanted.interval - wanted.operation.created_at
    if left > timedelta():
        raise resent_too_soon(left.total_seconds())


def _lock(
    transaction: Transaction, wanted: Sequence[CustomerNumber]
) -> dict[CustomerNumber, InvitationPart]:
    """Returns rows by number, and keeps others from changing them."""
    rows = transaction.fetch(LOCK_INVITATIONS, list(dict.fromkeys(wanted))) if wanted else []
    return {row.n: row for row in rows}
