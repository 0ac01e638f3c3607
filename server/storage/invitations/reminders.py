"""Whom to remind of an invitation that is not answered yet, and when."""

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
from server.storage.sql.json_texts import from_json
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.sql.transactions import one_by_one

_DAY = 24 * 3_600_000_000
_EVERY_NUMBER_OF_DAYS = range(1, LONGEST_REMINDER_D + 1)
# Invitees who got an e-mail less than this ago are not reminded of it.
_MIN_GAP = _DAY // 2

_c, _r = customers.c, reminders.c
# The time up to which invitations have been searched; the row is locked until the commit.
_SEARCHED = Query(
    RetentionRow, select(*retention.c).where(retention.c.name.in_(IDS)).with_for_update()
)
_INSERT_SEARCHED = Insert(retention, RetentionRow)
_SET_SEARCHED = Statement(
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
# True: all invitees are reminded at a number of days; False: those whose invitation sets it.
_CONDITIONS = {True: _is_next, False: (*_is_next, _c.options.contains('"reminders"'))}
_ENDS = {
    is_default: Query(
        _End,
        select(_c.expires_at).where(*conditions).order_by(_c.expires_at).limit(bindparam("limit")),
        *("after", "until", "limit"),
    )
    for is_default, conditions in _CONDITIONS.items()
}
_ROWS = {
    is_default: Query(
        InvitationPart, select(*INVITATION_PART).where(*conditions), *("after", "until")
    )
    for is_default, conditions in _CONDITIONS.items()
}
_INSERT = Insert(reminders, ReminderRow)
_HAVE_ONE = Query(ReminderRow, select(*_r).where(_r.n.in_(IDS)))


class Reminding(NamedTuple):
    """A search for invitees to remind, of `limit` invitations for each number of days.

    days: how many days before their end those are reminded that set no days of their own.
    """

    now: Micros
    days: tuple[int, ...]
    limit: int


@one_by_one
def remind_invitees(transaction: Transaction, wanted: Reminding) -> int:
    """Makes reminders; see RetentionStorage.remind_invitees."""
    searched = transaction.fetch(_SEARCHED, [REMINDED])
    if not searched:
        transaction.insert(_INSERT_SEARCHED, [RetentionRow(REMINDED, wanted.now)])
        return 0
    last = searched[0].value
    if last >= wanted.now:
        return 0
    until = _search_end(transaction, wanted, last)
    found = _find(transaction, wanted, last, until)
    numbers = list(found)
    for known in transaction.fetch(_HAVE_ONE, numbers) if numbers else ():
        del found[known.n]
    transaction.insert(_INSERT, list(found.values()))
    transaction.has_work |= bool(found)
    transaction.run(_SET_SEARCHED, [REMINDED], value=until)
    # The caller searches on if it gets as many as `limit`.
    return len(found) if until == wanted.now else wanted.limit


def _search_end(transaction: Transaction, wanted: Reminding, last: int) -> Micros:
    """Returns the time up to which a search from `last` finds about `limit` for each number of days."""
    until = wanted.now
    for days in _EVERY_NUMBER_OF_DAYS:
        ends = transaction.fetch(
            _ENDS[days in wanted.days],
            after=last + days * _DAY,
            until=until + days * _DAY,
            limit=wanted.limit,
        )
        if len(ends) == wanted.limit:
            # Those that end at the same moment are found together.
            until = Micros(ends[-1].expires_at - days * _DAY)
    return until


def _find(
    transaction: Transaction, wanted: Reminding, last: int, until: Micros
) -> dict[CustomerNumber, ReminderRow]:
    """Returns reminders of the invitations between two times, by their customers."""
    found: dict[CustomerNumber, ReminderRow] = {}
    for days in _EVERY_NUMBER_OF_DAYS:
        rows = transaction.fetch(
            _ROWS[days in wanted.days], after=last + days * _DAY, until=until + days * _DAY
        )
        for row in rows:
            if _is_wanted(row, days, wanted):
                reminder = ReminderRow(row.n, Count(days), wanted.now, due_at=wanted.now)
                found.setdefault(row.n, reminder)
    return found


def _is_wanted(row: InvitationPart, days: int, wanted: Reminding) -> bool:
    own = read_options(row.options).reminders
    sent_at = from_json(row.sent)[1] if row.sent else None
    is_soon = sent_at is not None and wanted.now - sent_at < _MIN_GAP
    return days in (wanted.days if own is None else own) and not is_soon
