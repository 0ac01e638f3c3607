import pytest

from server.domain.access import PERMITTED, Permission, ResellerState, Role, Subject
from server.domain.errors import BillingError, Reason

READ, WRITE, MANAGE_ACCESS = Permission.READ, Permission.WRITE, Permission.MANAGE_ACCESS

TABLE = {
    Role.OWNER: {READ, WRITE, MANAGE_ACCESS},
    Role.ADMIN: {READ, WRITE, MANAGE_ACCESS},
    Role.EDITOR: {READ, WRITE},
    Role.VIEWER: {READ},
    Role.ACCOUNTANT: {READ},
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_role_permits_what_the_table_says(role: Role, permission: Permission) -> None:
    subject = Subject("s", {"mine": frozenset({role})})
    assert subject.may(permission, "mine") == (permission in TABLE[role])
    assert not subject.may(permission, "another")


def test_every_role_has_a_row() -> None:
    assert set(PERMITTED) == set(Role) == set(TABLE)


def test_refusal_is_the_same_for_any_reseller() -> None:
    subject = Subject("s", {"mine": frozenset({Role.VIEWER})})
    refusals = []
    for reseller in ("mine", "another", "no-such-reseller"):
        with pytest.raises(BillingError) as refused:
            subject.require(WRITE, reseller)
        refusals.append((refused.value.reason, refused.value.message, refused.value.metadata))
    assert refusals[0][0] is Reason.PERMISSION_MISSING
    assert refusals[0] == refusals[1] == refusals[2]


def test_resellers_are_those_that_a_role_permits() -> None:
    subject = Subject("s", {"a": frozenset({Role.VIEWER}), "b": frozenset({Role.EDITOR})})
    assert subject.resellers(READ) == ["a", "b"]
    assert subject.resellers(WRITE) == ["b"]


def test_any_right_that_is_not_held_will_do() -> None:
    held = {"a": ResellerState.SUSPENDED}
    subject = Subject("s", {"a": frozenset({Role.EDITOR}), "b": frozenset({Role.VIEWER})}, held)
    subject.require_any(READ)
    with pytest.raises(BillingError) as suspended:
        subject.require_any(WRITE)
    assert suspended.value.reason is Reason.RESELLER_SUSPENDED
    with pytest.raises(BillingError) as missing:
        Subject("s", {}).require_any(READ)
    assert missing.value.reason is Reason.PERMISSION_MISSING
