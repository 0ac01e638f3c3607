"""Telling resellers of invitations that end soon."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import SERVICE, Actor
from server.domain.events import EventType
from server.storage.customer_rows import INVITATION_PART, InvitationPart
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import invitation_json
from server.storage.invitations.expire import IS_PENDING, Expiry
from server.storage.schema.tables import EXPIRING_TOLD, RetentionRow, customers, retention
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros

# How long before an invitation's end it is told.
SOON = timedelta(days=3)
_SOON_US = SOON // SOON.resolution
_SERVICE = Actor(SERVICE)

# Up to which end all have been told. Who tells more has the row locked until the commit.
_TOLD = Query(
    RetentionRow,
    select(*retention.c).where(retention.c.name.in_(IDS)).with_for_update(),
)
_BEGIN = Insert(retention, RetentionRow)
_MOVE = Statement(
    update(retention).where(retention.c.name.in_(IDS)).values(value=bindparam("value")), "value"
)


class _End(NamedTuple):
    expires_at: Micros


_is_next = (
    IS_PENDING,
    customers.c.expires_at > bindparam("told"),
    customers.c.expires_at <= bindparam("until"),
)
_ENDS = Query(
    _End,
    select(customers.c.expires_at)
    .where(*_is_next)
    .order_by(customers.c.expires_at)
    .limit(bindparam("limit")),
    *("told", "until", "limit"),
)
_EXPIRING = Query(
    InvitationPart,
    select(*INVITATION_PART).where(*_is_next).order_by(customers.c.n).with_for_update(),
    *("told", "until"),
)


def tell_expiring(transaction: Transaction, batch: Sequence[Expiry]) -> list[int]:
    """Tells of what ends soon; see RetentionStorage.tell_expiring."""
    return [_tell(transaction, each) for each in batch]


def _tell(transaction: Transaction, wanted: Expiry) -> int:
    known = transaction.fetch(_TOLD, [EXPIRING_TOLD])
    # What ended before it is first looked at is told as expired alone.
    told = max(known[0].value if known else 0, wanted.now)
    until = wanted.now + _SOON_US
    ends = transaction.fetch(_ENDS, told=told, until=until, limit=wanted.limit)
    if len(ends) == wanted.limit:
        until = ends[-1].expires_at  # with all that end at the same moment
    rows = transaction.fetch(_EXPIRING, told=told, until=until) if ends else []
    for row in rows:
        event = NewEvent(
            *(row.reseller, EventType.INVITATION_EXPIRING, wanted.now, _SERVICE),
            *(invitation_json(row), row.n),
        )
        log(transaction, event)
    if known:
        transaction.run(_MOVE, [EXPIRING_TOLD], value=until)
    else:
        transaction.insert(_BEGIN, [RetentionRow(EXPIRING_TOLD, until)])
    return len(rows)
