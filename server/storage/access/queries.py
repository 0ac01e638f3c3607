"""Lists for those who run the service. Small tables, read whole."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from server.domain.access import (
    AccountKey,
    AuditRecord,
    Reseller,
    Role,
    RoleBinding,
    ServiceAccount,
)
from server.storage.access.identity import account_key
from server.storage.reseller_details import read_details, read_origins
from server.storage.resellers import reseller_state
from server.storage.schema.access_tables import (
    AccountKeyRow,
    AuditRow,
    RoleBindingRow,
    ServiceAccountRow,
    account_keys,
    audit_records,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import ResellerRow, resellers
from server.storage.sql.statements import Query, Transaction
from server.storage.sql.times import from_micros

_RESELLERS = Query(
    ResellerRow,
    select(*resellers.c)
    .where(resellers.c.removed_at.is_(None))
    .order_by(resellers.c.created_at, resellers.c.id),
)
_ACCOUNTS = Query(
    ServiceAccountRow,
    select(*service_accounts.c).order_by(service_accounts.c.created_at, service_accounts.c.id),
)
_KEYS = Query(
    AccountKeyRow, select(*account_keys.c).order_by(account_keys.c.created_at, account_keys.c.id)
)
_ROLES = Query(
    RoleBindingRow,
    select(*role_bindings.c)
    .join_from(role_bindings, resellers, resellers.c.id == role_bindings.c.reseller_id)
    .where(resellers.c.removed_at.is_(None))
    .order_by(role_bindings.c.n),
)
_AUDIT = Query(
    AuditRow,
    select(*audit_records.c)
    .order_by(audit_records.c.at.desc(), audit_records.c.id.desc())
    .limit(bindparam("limit")),
    "limit",
)


class RoleFilter(NamedTuple):
    """Whose roles to list, and for which reseller; None: all."""

    subject_id: str | None
    reseller_id: str | None


def list_resellers(transaction: Transaction, batch: Sequence[None]) -> list[list[Reseller]]:
    """Returns all that are not removed."""
    found = [
        Reseller(
            row.id,
            row.name,
            from_micros(row.created_at),
            reseller_state(row.suspended_at, row.removed_at),
            row.contact,
            read_details(row.contact_details),
            read_origins(row.return_origins),
        )
        for row in transaction.fetch(_RESELLERS)
    ]
    return [found] * len(batch)


def list_accounts(transaction: Transaction, batch: Sequence[None]) -> list[list[ServiceAccount]]:
    """Returns all service accounts."""
    found = [
        ServiceAccount(row.id, row.name, from_micros(row.created_at))
        for row in transaction.fetch(_ACCOUNTS)
    ]
    return [found] * len(batch)


def list_keys(transaction: Transaction, batch: Sequence[str | None]) -> list[list[AccountKey]]:
    """Returns the keys of the accounts; None: of all."""
    found = [account_key(row) for row in transaction.fetch(_KEYS)]
    return [
        [key for key in found if account_id in (None, key.service_account_id)]
        for account_id in batch
    ]


def list_roles(transaction: Transaction, batch: Sequence[RoleFilter]) -> list[list[RoleBinding]]:
    """Returns roles by subject and reseller."""
    found = [
        RoleBinding(row.subject_id, row.reseller_id, Role(row.role), from_micros(row.created_at))
        for row in transaction.fetch(_ROLES)
    ]
    return [
        [
            binding
            for binding in found
            if wanted.subject_id in (None, binding.subject_id)
            and wanted.reseller_id in (None, binding.reseller_id)
        ]
        for wanted in batch
    ]


def list_audit_records(transaction: Transaction, batch: Sequence[int]) -> list[list[AuditRecord]]:
    """Returns the latest records, newest first; each caller says how many at most."""
    return [
        [
            AuditRecord(
                from_micros(row.at), row.actor, row.action, row.target, row.details, row.os_user
            )
            for row in transaction.fetch(_AUDIT, limit=limit)
        ]
        for limit in batch
    ]
