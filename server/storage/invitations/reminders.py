"""Whom to remind of an invitation that is not answered yet, and when."""

import json
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.invitation_options import LONGEST_REMINDER_D
from server.storage.customer_rows import INVITATION_PART, InvitationPart
from server.storage.invitation_options import read_options
from server.storage.invitations.expire import IS_PENDING
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    REMINDED,
    CustomerNumber,
    ReminderRow,
    RetentionRow,
    customers,
    reminders,
    retention,
)
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.sql.transactions import one_by_one

_DAY = 24 * 3_600_000_000
# Who got an e-mail less than this ago is not reminded of it.
_TOO_SOON = _DAY // 2

_c, _r = customers.c, reminders.c
# Up to when it has been looked whom to remind; who looks on has the row locked until the commit.
_LOOKED = Query(
    RetentionRow, select(*retention.c).where(retention.c.name.in_(IDS)).with_for_update()
)
_BEGIN = Insert(retention, RetentionRow)
_MOVE = Statement(
    update(retention).where(retention.c.name.in_(IDS)).values(value=bindparam("value")), "value"
)


class _End(NamedTuple):
    expires_at: Micros


_is_next = (
    IS_PENDING,
    _c.expires_at > bindparam("after"),
    _c.expires_at <= bindparam("until"),
    _c.delivery.is_(None),
    _c.sent.is_not(None),
)
# Of all, or of those alone that say by themselves when they want to be reminded.
_SOME = {True: _is_next, False: (*_is_next, _c.options.contains('"reminders"'))}
_ENDS = {
    of_all: Query(
        _End,
        select(_c.expires_at).where(*conditions).order_by(_c.expires_at).limit(bindparam("limit")),
        *("after", "until", "limit"),
    )
    for of_all, conditions in _SOME.items()
}
_ROWS = {
    of_all: Query(InvitationPart, select(*INVITATION_PART).where(*conditions), *("after", "until"))
    for of_all, conditions in _SOME.items()
}
_INSERT = Insert(reminders, ReminderRow)
_HAVE_ONE = Query(ReminderRow, select(*_r).where(_r.n.in_(IDS)))


class Reminding(NamedTuple):
    """How much to look at, and how many days before their end all are reminded that say nothing."""

    now: Micros
    days: tuple[int, ...]
    limit: int


@one_by_one
def remind_invitees(transaction: Transaction, wanted: Reminding) -> int:
    """Makes reminders; see RetentionStorage.remind_invitees."""
    looked = transaction.fetch(_LOOKED, [REMINDED])
    if not looked:
        transaction.insert(_BEGIN, [RetentionRow(REMINDED, wanted.now)])
        return 0
    last, until = looked[0].value, wanted.now
    if last >= until:
        return 0
    every = range(1, LONGEST_REMINDER_D + 1)
    for days in every:
        ends = transaction.fetch(
            _ENDS[days in wanted.days],
            after=last + days * _DAY,
            until=until + days * _DAY,
            limit=wanted.limit,
        )
        if len(ends) == wanted.limit:
            # With all that end at the same moment.
            until = Micros(ends[-1].expires_at - days * _DAY)
    found: dict[CustomerNumber, ReminderRow] = {}
    for days in every:
        rows = transaction.fetch(
            _ROWS[days in wanted.days], after=last + days * _DAY, until=until + days * _DAY
        )
        for row in rows:
            if _is_wanted(row, days, wanted):
                reminder = ReminderRow(row.n, Count(days), wanted.now, due_at=wanted.now)
                found.setdefault(row.n, reminder)
    numbers = list(found)
    for known in transaction.fetch(_HAVE_ONE, numbers) if numbers else ():
        del found[known.n]
    transaction.insert(_INSERT, list(found.values()))
    transaction.has_work |= bool(found)
    transaction.run(_MOVE, [REMINDED], value=until)
    # There is more to look at.
    return len(found) if until == wanted.now else wanted.limit


def _is_wanted(row: InvitationPart, days: int, wanted: Reminding) -> bool:
    own = read_options(row.options).reminders
    sent_at = json.loads(row.sent)[1] if row.sent else None
    is_soon = sent_at is not None and wanted.now - sent_at < _TOO_SOON
    return days in (wanted.days if own is None else own) and not is_soon
