"""Who may do what, and the audit of it."""

from sqlalchemy import ColumnElement, Table, and_, true

from server.storage.check.checks import Check, missing
from server.storage.schema.access_tables import (
    account_keys,
    audit_records,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import resellers

_ROLES = Check(
    role_bindings.outerjoin(resellers, resellers.c.id == role_bindings.c.reseller_id),
    role_bindings.c.subject_id,
    {
        "a role is for a reseller that is known": missing(resellers),
    },
)

_KEYS = Check(
    account_keys.outerjoin(
        service_accounts, service_accounts.c.id == account_keys.c.service_account_id
    ),
    account_keys.c.id,
    {"a key is a service account's": missing(service_accounts)},
)


def _audited(
    table: Table, action: str, text: str, concerned: ColumnElement[bool] | None = None
) -> Check:
    records = and_(audit_records.c.target == table.c.id, audit_records.c.action == action)
    condition = true() if concerned is None else concerned
    return Check(
        table.outerjoin(audit_records, records),
        table.c.id,
        {f"the audit tells of {text}": and_(missing(audit_records), condition)},
    )


# Resellers and roles may be older than the audit.
CHECKS = (
    _ROLES,
    _KEYS,
    _audited(service_accounts, "service-accounts.add", "each service account"),
    _audited(account_keys, "keys.add", "each key"),
    _audited(
        resellers,
        "resellers.remove",
        "each reseller's removal",
        resellers.c.removed_at.is_not(None),
    ),
    _audited(
        resellers,
        "resellers.suspend",
        "each reseller's suspension",
        resellers.c.suspended_at.is_not(None),
    ),
)
