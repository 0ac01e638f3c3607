"""Which roles callers may give and take, and what comes of a list of such changes."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import NamedTuple

from server.domain import ids
from server.domain.access import (
    RESERVED_SUBJECTS,
    Permission,
    Role,
    is_operator,
    permission_missing,
)
from server.domain.errors import BillingError, FieldViolation, Reason, invalid_fields
from server.domain.operations import Operation, OperationKind

# Which roles each role may give and take: none that permits more than itself.
GIVES: Mapping[Role, frozenset[Role]] = {
    Role.OWNER: frozenset(Role),
    Role.ADMIN: frozenset(Role) - {Role.OWNER},
}

# Roles for one reseller; each change of them reads all. Those who run the service may give more.
MOST_ROLES = 1000


class HeldRole(NamedTuple):
    """A role for a reseller, and whose it is."""

    subject_id: str
    role: Role


class AccessBinding(NamedTuple):
    """A role that is held. `is_account`: by a service account, not an outside issuer's subject."""

    held: HeldRole
    is_account: bool


class RoleDelta(NamedTuple):
    """A role to give, or to take; `field` is where the request names it."""

    give: bool
    binding: AccessBinding
    field: str

    @property
    def held(self) -> HeldRole:
        """The role, and whose it is."""
        return self.binding.held


class RoleChanges(NamedTuple):
    """What is to be done, each in one order."""

    granted: Sequence[HeldRole]
    revoked: Sequence[HeldRole]


def access_update(reseller_id: str, created_by: str, now: datetime) -> Operation:
    """Makes the record of an operation that is over as soon as it is durable."""
    return Operation(
        id=ids.new_id(ids.OPERATION),
        kind=OperationKind.UPDATE_ACCESS,
        reseller_id=reseller_id,
        customer_id="",
        billing_account_id=reseller_id,
        created_by=created_by,
        created_at=now,
        modified_at=now,
        done=True,
    )


def decide(
    before: Set[HeldRole], deltas: Sequence[RoleDelta], caller_id: str, accounts: Set[str]
) -> RoleChanges:
    """Returns what is to be granted and revoked for a reseller, all deltas taken in their order.

    `before` is who has which role, `accounts` are those of the deltas' subjects that are service
    accounts; both to be read under a lock. Raises PERMISSION_MISSING for a role that none of the
    caller's roles may give, FIELDS_INVALID for subjects of another kind, LAST_OWNER where nobody would
    be left with the highest of the roles that give others, if somebody had it before, and
    ROLE_LIMIT_REACHED.
    """
    _require_right(before, deltas, caller_id)
    _check_subjects(before, deltas, accounts)
    after = set(before)
    for delta in deltas:
        (after.add if delta.give else after.discard)(delta.held)
    for role in GIVES:
        if any(held.role is role for held in before):
            if not any(held.role is role for held in after):
                raise _last_one(role)
            break
    if len(after) > max(MOST_ROLES, len(before)):
        raise _too_many()
    return RoleChanges(sorted(after - before), sorted(before - after))


def _require_right(before: Set[HeldRole], deltas: Sequence[RoleDelta], caller_id: str) -> None:
    may_give = frozenset[Role]().union(
        *(GIVES.get(role, frozenset()) for subject_id, role in before if subject_id == caller_id)
    )
    if not may_give:
        raise permission_missing(Permission.MANAGE_ACCESS)
    for delta in deltas:
        if delta.held.role not in may_give:
            role = delta.held.role.value
            raise BillingError(
                Reason.PERMISSION_MISSING,
                f"Only those who have the role {role} may give or take it: ask one of them.",
                metadata={"permission": Permission.MANAGE_ACCESS.value, "roles": role},
            )


def _check_subjects(before: Set[HeldRole], deltas: Sequence[RoleDelta], accounts: Set[str]) -> None:
    """Refuses deltas that would give or take the role of a subject of the same ID, but another kind."""
    wrong: list[FieldViolation] = []
    for delta in deltas:
        id_ = delta.held.subject_id
        if not delta.give and delta.held not in before:
            continue  # there is nothing to take
        if delta.give and (id_ in RESERVED_SUBJECTS or is_operator(id_)):
            text = "Is what events call something else: choose another subject."
            wrong.append(FieldViolation(f"{delta.field}.subject.id", text))
        elif delta.binding.is_account and id_ not in accounts:
            text = "There is no such service account; check the ID, or the type."
            wrong.append(FieldViolation(f"{delta.field}.subject.id", text))
        elif not delta.binding.is_account and id_ in accounts:
            text = "The subject with this ID is a service account; the type is serviceAccount."
            wrong.append(FieldViolation(f"{delta.field}.subject.type", text))
    if wrong:
        raise invalid_fields(*wrong)


def _last_one(role: Role) -> BillingError:
    return BillingError(
        Reason.LAST_OWNER,
        f"Nobody would have {role} for the reseller, which the last one who has it needs to give "
        "roles: give it to another subject first.",
        metadata={"role": role.value},
    )


def _too_many() -> BillingError:
    return BillingError(
        Reason.ROLE_LIMIT_REACHED,
        f"The limit of {MOST_ROLES} roles for one reseller is reached; take some first.",
        metadata={"limit": "ROLES_PER_RESELLER", "most": str(MOST_ROLES)},
    )
