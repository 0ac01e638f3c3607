"""The audit of changes to resellers, accounts, keys and roles."""

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
    row = AuditRow(AuditId(ids.new_id(ids.AUDIT)), now, by, action, target, details, os_user())
    transaction.insert(_INSERT, [row])
    transaction.changes_access = True
