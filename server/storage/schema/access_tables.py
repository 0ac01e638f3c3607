"""The tables of access: accounts, their keys, tokens and roles, and the audit of changes to them."""

from typing import NamedTuple

from sqlalchemy import ForeignKey, text

from server.storage.schema.columns import index, table
from server.storage.schema.tables import (
    AuditId,
    DisplayName,
    KeyId,
    ResellerId,
    RoleNumber,
    SubjectId,
    TokenHash,
    metadata,
    resellers,
)
from server.storage.sql.times import Micros


class ServiceAccountRow(NamedTuple):
    """A subject for programs."""

    id: SubjectId
    name: DisplayName
    created_at: Micros


class AccountKeyRow(NamedTuple):
    """The public half of a service account's key pair."""

    id: KeyId
    service_account_id: SubjectId
    algorithm: str
    public_key: str
    created_at: Micros


class AccessTokenRow(NamedTuple):
    """A long-lived token, known by its hash."""

    token_hash: TokenHash
    subject_id: SubjectId
    created_at: Micros
    expires_at: Micros | None


class RevokedTokenRow(NamedTuple):
    """Kept until the token would have expired anyway."""

    token_hash: TokenHash
    expires_at: Micros


class RoleBindingRow(NamedTuple):
    """`subject_id` is a service account's, or a subject's of an outside issuer. `n` grows with time."""

    n: RoleNumber
    subject_id: SubjectId
    reseller_id: ResellerId
    role: str
    created_at: Micros


class AuditRow(NamedTuple):
    """Who changed what of the tables of access, also of the roles that callers give and take."""

    id: AuditId
    at: Micros
    actor: str
    action: str
    target: str
    details: str
    os_user: str = ""


service_accounts = table("service_accounts", metadata, ServiceAccountRow, "id")

account_keys = table("account_keys", metadata, AccountKeyRow, "id")
account_keys.c.service_account_id.append_foreign_key(ForeignKey(service_accounts.c.id))

access_tokens = table("access_tokens", metadata, AccessTokenRow, "token_hash")

revoked_tokens = table("revoked_tokens", metadata, RevokedTokenRow, "token_hash")
index("ix_revoked_tokens_expires_at", revoked_tokens.c.expires_at)


role_bindings = table("role_bindings", metadata, RoleBindingRow, "n")
index(
    "role_bindings_held",
    *(role_bindings.c.subject_id, role_bindings.c.reseller_id, role_bindings.c.role),
    unique=True,
)
index("role_bindings_by_reseller", role_bindings.c.reseller_id, role_bindings.c.n)
role_bindings.c.reseller_id.append_foreign_key(ForeignKey(resellers.c.id))


audit_records = table("audit_records", metadata, AuditRow, "id", {"os_user": text("''")})
index("audit_records_by_age", audit_records.c.at, audit_records.c.id)
