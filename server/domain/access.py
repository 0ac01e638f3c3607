"""Who may do what: subjects, roles by reseller, and what each role permits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from server.domain.contacts import NO_DETAILS, ContactDetails
from server.domain.errors import BillingError, Reason


class Role(StrEnum):
    """Roles as published."""

    OWNER = "billing.accounts.owner"
    ADMIN = "billing.accounts.admin"
    EDITOR = "billing.accounts.editor"
    VIEWER = "billing.accounts.viewer"
    ACCOUNTANT = "billing.accounts.accountant"


class Permission(StrEnum):
    """What a role permits for the reseller that it was given for."""

    READ = "read"
    WRITE = "write"
    MANAGE_ACCESS = "manage_access"


class ResellerState(StrEnum):
    """Whether a reseller may do anything. While it may not, its e-mails and invitations are held."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


_EDITORS = frozenset({Permission.READ, Permission.WRITE})
_READERS = frozenset({Permission.READ})
PERMITTED: Mapping[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission),
    Role.EDITOR: _EDITORS,
    Role.VIEWER: _READERS,
    Role.ACCOUNTANT: _READERS,
}
_PERMITTING: Mapping[Permission, frozenset[Role]] = {
    permission: frozenset(role for role in Role if permission in PERMITTED[role])
    for permission in Permission
}


class Actor(NamedTuple):
    """Who brought something about, as events tell it.

    `subject` is an account, an outside subject, or one of the names below. `key_id` is the service
    account's key that the caller's token was got with, `request_id` that of the call; None where
    there is none.
    """

    subject: str
    key_id: str | None = None
    request_id: str | None = None


# What no account brings about: whoever holds the link of an invitation does, or time.
INVITEE = "invitee"
SERVICE = "service"
RESERVED_SUBJECTS = frozenset({INVITEE, SERVICE})


_OPERATOR = "operator:"


def operator(name: str) -> Actor:
    """Returns who works at the command line; no account has a colon in its ID."""
    return Actor(_OPERATOR + name)


def is_operator(subject_id: str) -> bool:
    """Tells whether events would take a subject for somebody at the command line."""
    return subject_id.startswith(_OPERATOR)


@dataclass(frozen=True, slots=True)
class Subject:
    """A caller whose identity has been proved, and the roles that it has, by reseller ID.

    `held` are those of the resellers that are not active. `key_id` is the service account's key that
    its token was got with, None for other tokens.
    """

    id: str
    roles: Mapping[str, frozenset[Role]]
    held: Mapping[str, ResellerState] = field(default_factory=dict)
    key_id: str | None = None

    def actor(self, request_id: str) -> Actor:
        """Returns who brings about what the call with this ID changes."""
        return Actor(self.id, self.key_id, request_id)

    def may(self, permission: Permission, reseller_id: str) -> bool:
        """Tells whether one of the subject's roles for the reseller permits this."""
        return not _PERMITTING[permission].isdisjoint(self.roles.get(reseller_id, ()))

    def require(self, permission: Permission, reseller_id: str) -> None:
        """Raises PERMISSION_MISSING, the same whether or not the reseller exists.

        Only those who have the right are told that the reseller is held: RESELLER_SUSPENDED,
        RESELLER_REMOVED.
        """
        if not self.may(permission, reseller_id):
            raise permission_missing(permission)
        state = self.held.get(reseller_id)
        if state:
            raise reseller_held(reseller_id, state)

    def require_any(self, permission: Permission) -> None:
        """Raises what `require` does unless this is permitted for an active reseller."""
        permitting = _PERMITTING[permission]
        for reseller, roles in self.roles.items():
            if not (permitting.isdisjoint(roles) or reseller in self.held):
                return
        self.resellers(permission)

    def resellers(self, permission: Permission) -> list[str]:
        """Returns the IDs of the active resellers that this is permitted for.

        Raises what `require` does if it is permitted for none.
        """
        permitted = [reseller for reseller in self.roles if self.may(permission, reseller)]
        active = [reseller for reseller in permitted if reseller not in self.held]
        if not active:
            self.require(permission, permitted[0] if permitted else "")
        return active


_HELD: Mapping[ResellerState, tuple[Reason, str]] = {
    ResellerState.SUSPENDED: (
        Reason.RESELLER_SUSPENDED,
        (
            "The reseller is suspended: its calls are refused and its e-mails held. Ask those who run "
            "this service to resume it."
        ),
    ),
    ResellerState.REMOVED: (
        Reason.RESELLER_REMOVED,
        (
            "The reseller has been removed: its calls are refused. Ask those who run this service if "
            "you did not expect that."
        ),
    ),
}


def reseller_held(reseller_id: str, state: ResellerState) -> BillingError:
    """Returns the refusal of calls for a reseller that is not active."""
    reason, message = _HELD[state]
    return BillingError(reason, message, metadata={"resellerId": reseller_id})


def permission_missing(permission: Permission) -> BillingError:
    """Returns the refusal for a caller without a right."""
    needed = sorted(_PERMITTING[permission])
    return BillingError(
        Reason.PERMISSION_MISSING,
        "You have no role that permits this for the reseller; ask its owner for one of the roles in "
        "the error's metadata.",
        metadata={"permission": permission.value, "roles": ",".join(needed)},
    )


def hash_token(token: str) -> bytes:
    """Returns what is kept of an access token: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a signed token proves by itself; whether it still holds, the storage knows.

    `token_hash` is the SHA-256 of what was signed: whoever spells the signature otherwise does not
    escape a revocation. `key_id` is the service account's key that the token was got with, None for
    a token of an outside issuer.
    """

    token_hash: bytes
    subject_id: str
    key_id: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Reseller:
    """Who invites customers. `contact` is where those can ask, or None.

    `return_origins` are those that its invitations' pages may lead back to.
    """

    id: str
    name: str
    created_at: datetime
    state: ResellerState
    contact: str | None
    details: ContactDetails = NO_DETAILS
    return_origins: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A subject for programs: it proves itself by its keys."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The half of a service account's key pair that is kept. `public_key` is PEM."""

    id: str
    service_account_id: str
    algorithm: str
    public_key: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A role that a subject has for a reseller."""

    subject_id: str
    reseller_id: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who changed what, and when. `action` is like `keys.add`; `details` are for people.

    `actor` is the name that was given, `os_user` the operating system's, "" where it is not known;
    the storage fills it in.
    """

    at: datetime
    actor: str
    action: str
    target: str
    details: str
    os_user: str = ""
