"""Invitees of expired invitations that ask for a new one."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from server.domain.access import Actor
from server.domain.events import EventType
from server.domain.invitations import InvitationState, state_at
from server.storage.customer_rows import LOCK_INVITATIONS, InvitationPart
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.invitations.expire import expire_by_number
from server.storage.invitations.read import find_links
from server.storage.schema.codes import EVENT_TYPE_CODES, INVITATION_STATES, EventTypeCode
from server.storage.schema.tables import CustomerNumber, events
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.times import from_micros, micros


class _LastEvent(NamedTuple):
    """The kind of the last event of a customer."""

    customer: CustomerNumber
    type: EventTypeCode


_last = (
    select(events.c.customer, func.max(events.c.number).label("number"))
    .where(events.c.customer.in_(IDS))
    .group_by(events.c.customer)
    .subquery()
)
_LAST_EVENTS = Query(
    _LastEvent,
    select(events.c.customer, events.c.type).join(
        _last, (events.c.customer == _last.c.customer) & (events.c.number == _last.c.number)
    ),
)
_ASKED = EVENT_TYPE_CODES[EventType.INVITATION_RENEWAL_REQUESTED]


class Renewal(NamedTuple):
    """Who asks, by the link in the latest e-mail."""

    token_hash: bytes
    now: datetime
    actor: Actor


def request_renewals(transaction: Transaction, batch: Sequence[Renewal]) -> list[bool]:
    """Tells resellers who asks for new invitations; see InvitationStorage.request_renewal."""
    links = find_links(transaction, [each.token_hash for each in batch])
    numbers = list({link.customer for link in links.values()})
    rows = {row.n: row for row in (transaction.fetch(LOCK_INVITATIONS, numbers) if numbers else [])}
    last = {row.customer: row.type for row in transaction.fetch(_LAST_EVENTS, numbers or [0])}
    answers = []
    for wanted in batch:
        link = links.get(wanted.token_hash)
        row = rows.get(link.customer) if link else None
        is_expired = row is not None and _is_expired(row, wanted.now)
        answers.append(is_expired)
        if row is None or not is_expired or last.get(row.n) == _ASKED:
            continue
        at = micros(wanted.now)
        if expire_by_number(transaction, [row.n], at):
            (row,) = transaction.fetch(LOCK_INVITATIONS, [row.n])
        last[row.n] = _ASKED
        event = NewEvent(
            *(row.reseller, EventType.INVITATION_RENEWAL_REQUESTED, at, wanted.actor),
            *(invitation_json(row), row.n),
        )
        log(transaction, event)
    return answers


def _is_expired(row: InvitationPart, now: datetime) -> bool:
    state = state_at(INVITATION_STATES[row.invitation], from_micros(row.expires_at), now)
    return state is InvitationState.EXPIRED
