"""Lists for those who run the service. Small tables, read whole."""

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from server.domain.access import (
    AccountKey,
    AuditRecord,
    Reseller,
    Role,
    RoleBinding,
    ServiceAccount,
)
from server.storage import schema
from server.storage.access import account_key, reseller_state
from server.storage.rows import time
from server.storage.statements import Statement, Transaction

_RESELLERS = Statement(
    select(
        *(schema.resellers.c[name] for name in ("id", "name", "created_at", "contact")),
        *(schema.resellers.c[name] for name in ("suspended_at", "removed_at")),
    )
    .where(schema.resellers.c.removed_at.is_(None))
    .order_by(schema.resellers.c.created_at, schema.resellers.c.id)
)
_ACCOUNTS = Statement(
    select(*schema.service_accounts.c).order_by(
        schema.service_accounts.c.created_at, schema.service_accounts.c.id
    )
)
_KEYS = Statement(
    select(*schema.account_keys.c).order_by(
        schema.account_keys.c.created_at, schema.account_keys.c.id
    )
)
_ROLES = Statement(
    select(*schema.role_bindings.c)
    .join_from(
        schema.role_bindings,
        schema.resellers,
        schema.resellers.c.id == schema.role_bindings.c.reseller_id,
    )
    .where(schema.resellers.c.removed_at.is_(None))
    .order_by(
        schema.role_bindings.c.created_at,
        schema.role_bindings.c.subject_id,
        schema.role_bindings.c.reseller_id,
        schema.role_bindings.c.role,
    )
)
_AUDIT = Statement(
    select(
        *(
            schema.audit_records.c[name]
            for name in ("at", "actor", "action", "target", "details", "os_user")
        )
    )
    .order_by(schema.audit_records.c.at.desc(), schema.audit_records.c.id.desc())
    .limit(bindparam("limit")),
    "limit",
)


def resellers(transaction: Transaction, batch: Sequence[None]) -> list[list[Reseller]]:
    """Returns all that are not removed."""
    found = [
        Reseller(id_, name, time(created_at), reseller_state(*times), contact)
        for id_, name, created_at, contact, *times in transaction.fetch(_RESELLERS)
    ]
    return [found] * len(batch)


def accounts(transaction: Transaction, batch: Sequence[None]) -> list[list[ServiceAccount]]:
    """Returns all service accounts."""
    found = [
        ServiceAccount(id_, name, time(created_at))
        for id_, name, created_at in transaction.fetch(_ACCOUNTS)
    ]
    return [found] * len(batch)


def keys(transaction: Transaction, batch: Sequence[str | None]) -> list[list[AccountKey]]:
    """Returns the keys of the accounts; None: of all."""
    found = [account_key(row) for row in transaction.fetch(_KEYS)]
    return [
        [key for key in found if account_id in (None, key.service_account_id)]
        for account_id in batch
    ]


def roles(
    transaction: Transaction, batch: Sequence[tuple[str | None, str | None]]
) -> list[list[RoleBinding]]:
    """Returns roles by subject and reseller; None: all."""
    found = [
        RoleBinding(subject_id, reseller_id, Role(role), time(created_at))
        for subject_id, reseller_id, role, created_at in transaction.fetch(_ROLES)
    ]
    return [
        [
            binding
            for binding in found
            if subject_id in (None, binding.subject_id)
            and reseller_id in (None, binding.reseller_id)
        ]
        for subject_id, reseller_id in batch
    ]


def audit(transaction: Transaction, batch: Sequence[int]) -> list[list[AuditRecord]]:
    """Returns the latest records, newest first."""
    return [
        [AuditRecord(time(at), *rest) for at, *rest in transaction.fetch(_AUDIT, limit=limit)]
        for limit in batch
    ]
