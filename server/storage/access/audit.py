"""The audit of changes to resellers, accounts, keys and roles."""

from collections.abc import Iterable

from server.domain import ids
from server.os_user import os_user
from server.storage.schema.access_tables import AuditRow, audit_records
from server.storage.schema.tables import AuditId
from server.storage.sql.statements import Insert, Transaction
from server.storage.sql.times import Micros

_INSERT = Insert(audit_records, AuditRow)


def record_change(
    transaction: Transaction, now: Micros, by: str, action: str, target: str, details: str
) -> None:
    """Records a change, and has all processes told that who may do what has changed."""
    record_changes(transaction, now, by, action, [(target, details)])


def record_changes(
    transaction: Transaction,
    now: Micros,
    by: str,
    action: str,
    changed: Iterable[tuple[str, str]],
) -> None:
    """The same for several, each a target and details."""
    user = os_user()
    rows = [
        AuditRow(AuditId(ids.new_id(ids.AUDIT)), now, by, action, target, details, user)
        for target, details in changed
    ]
    if rows:
        transaction.insert(_INSERT, rows)
        transaction.changes_access = True
