"""Invitations that end: by time, and what becomes of the rows of all that end."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, select, text, update

from server.domain.access import SERVICE, Actor
from server.domain.customers import CustomerState
from server.domain.events import EventType
from server.domain.invitations import CUSTOMER_STATES, InvitationState
from server.storage.customer_rows import INVITATION_PART, InvitationPart
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.schema.codes import CUSTOMER_STATE_CODES, EXPIRED, PENDING
from server.storage.schema.tables import CustomerNumber, customers
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.times import Micros

_SERVICE = Actor(SERVICE)
_WAITING = CUSTOMER_STATE_CODES[CustomerState.ACCEPTANCE_REQUIRED]
_EXPIRED_CUSTOMER = CUSTOMER_STATE_CODES[CUSTOMER_STATES[InvitationState.EXPIRED]]

# As the index of those that can lapse has it.
IS_PENDING = customers.c.invitation == text(str(PENDING))
_has_lapsed = and_(IS_PENDING, customers.c.expires_at <= bindparam("now"))


class _Number(NamedTuple):
    n: CustomerNumber


_LAPSED = Query(
    _Number,
    select(customers.c.n)
    .where(_has_lapsed)
    .order_by(customers.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "now",
    "limit",
)
_EXPIRE = Query(
    InvitationPart,
    update(customers)
    .where(customers.c.n.in_(IDS), _has_lapsed)
    .values(
        invitation=EXPIRED,
        ended_at=customers.c.expires_at,
        slot=-customers.c.n,
        state=case((customers.c.state == _WAITING, _EXPIRED_CUSTOMER), else_=customers.c.state),
        # Clocks differ, and no two changes have the same time.
        modified_at=case(
            (customers.c.state != _WAITING, customers.c.modified_at),
            (customers.c.modified_at >= bindparam("now"), customers.c.modified_at + 1),
            else_=bindparam("now"),
        ),
    )
    .returning(*INVITATION_PART),
    "now",
)


class Expiry(NamedTuple):
    """How much to expire at once."""

    now: Micros
    limit: int


def expire_invitations(transaction: Transaction, batch: Sequence[Expiry]) -> list[int]:
    """Expires what has lapsed; see RetentionStorage.expire_invitations."""
    return [
        expire_by_number(
            transaction,
            [row.n for row in transaction.fetch(_LAPSED, now=each.now, limit=each.limit)],
            each.now,
        )
        for each in batch
    ]


def expire_by_number(
    transaction: Transaction, numbers: Sequence[CustomerNumber], now: Micros
) -> int:
    """Records the expiry of those that have lapsed and are still pending; returns of how many."""
    rows = transaction.fetch(_EXPIRE, numbers, now=now) if numbers else []
    for row in sorted(rows):
        event = NewEvent(
            *(row.reseller, EventType.INVITATION_EXPIRED, now, _SERVICE),
            *(invitation_json(row), row.n),
        )
        log(transaction, event)
    return len(rows)
