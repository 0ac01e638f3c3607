"""Holding all invitations' e-mails, and letting them go on."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select

from server.domain.access import AuditRecord
from server.storage.access.changes import record
from server.storage.schema.tables import MAIL_HELD, RetentionRow, retention
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import micros
from server.storage.sql.transactions import one_by_one

_HELD = Query(RetentionRow, select(*retention.c).where(retention.c.name.in_(IDS)))
_HOLD = Insert(retention, RetentionRow)
_RESUME = Statement(delete(retention).where(retention.c.name.in_(IDS)))


class HoldChange(NamedTuple):
    """Who holds e-mails, or has them go on."""

    held: bool
    now: datetime
    by: str


@one_by_one
def change_hold(transaction: Transaction, change: HoldChange) -> bool:
    """Holds e-mails, or has them go on; see Administration.hold_mail and resume_mail."""
    if mail_is_held(transaction) == change.held:
        return False
    if change.held:
        transaction.insert(_HOLD, [RetentionRow(MAIL_HELD, micros(change.now))])
    else:
        transaction.run(_RESUME, [MAIL_HELD])
        transaction.has_work = True
    action = "mail.hold" if change.held else "mail.resume"
    record(transaction, [AuditRecord(change.now, change.by, action, "mail", "")])
    return True


def mail_is_held(transaction: Transaction) -> bool:
    """Tells whether no e-mail is to be claimed."""
    return bool(transaction.fetch(_HELD, [MAIL_HELD]))
