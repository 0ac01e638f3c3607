"""Who may do what: subjects, roles by reseller, and what each role permits."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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


_WRITERS = frozenset({Role.OWNER, Role.ADMIN, Role.EDITOR})
PERMITTED: Mapping[Role, frozenset[Permission]] = {
    role: frozenset(Permission) if role in _WRITERS else frozenset({Permission.READ})
    for role in Role
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A caller whose identity has been proved, and the roles that it has, by reseller ID."""

    id: str
    roles: Mapping[str, frozenset[Role]]

    def may(self, permission: Permission, reseller_id: str) -> bool:
        """Tells whether one of the subject's roles for the reseller permits this."""
        return any(permission in PERMITTED[role] for role in self.roles.get(reseller_id, ()))

    def require(self, permission: Permission, reseller_id: str) -> None:
        """Raises PERMISSION_MISSING, the same whether or not the reseller exists."""
        if not self.may(permission, reseller_id):
            raise permission_missing(permission)

    def resellers(self, permission: Permission) -> list[str]:
        """Returns the IDs of the resellers that this is permitted for."""
        return [reseller for reseller in self.roles if self.may(permission, reseller)]


def permission_missing(permission: Permission) -> BillingError:
    """Returns the refusal for a caller without a right."""
    needed = sorted(role for role in Role if permission in PERMITTED[role])
    return BillingError(
        Reason.PERMISSION_MISSING,
        "You have no role that permits this for the reseller; ask its owner for one of the roles in "
        "the error's metadata.",
        metadata={"permission": permission.value, "roles": ",".join(needed)},
    )
