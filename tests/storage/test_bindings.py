"""Roles given and taken by callers, on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta

import pytest

from server.domain.access import Actor, Role, RoleBinding
from server.domain.errors import BillingError, Reason
from server.domain.events import EventType
from server.domain.operations import Operation
from server.domain.role_changes import AccessBinding, HeldRole, RoleDelta, access_update
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.events.reading import logged
from tests.storage.overlap import Overlap
from tests.storage.records import RESELLER, SECOND_RESELLER, START, key

OWNER = Actor("owner", "key-1", "request-1")
LATER = START + timedelta(seconds=1)


@pytest.fixture(autouse=True)
async def sound(storage: SqlStorage, database_url: str) -> AsyncIterator[None]:
    """Whatever a test does, log and records agree."""
    await storage.administration.grant_role(OWNER.subject, RESELLER, Role.OWNER, START)
    yield
    assert [found for found in check(database_url) if found.count] == []


def give(subject_id: str, role: Role = Role.VIEWER, *, is_account: bool = False) -> RoleDelta:
    return RoleDelta(True, AccessBinding(HeldRole(subject_id, role), is_account), "it")


def take(subject_id: str, role: Role = Role.VIEWER, *, is_account: bool = False) -> RoleDelta:
    return RoleDelta(False, AccessBinding(HeldRole(subject_id, role), is_account), "it")


async def update(
    storage: SqlStorage, *deltas: RoleDelta, by: Actor = OWNER, key_: str | None = None
) -> Operation:
    return await storage.access.update_bindings(
        access_update(RESELLER, by.subject, LATER), deltas, by, key(key_) if key_ else None
    )


async def refused(storage: SqlStorage, *deltas: RoleDelta, by: Actor = OWNER) -> Reason:
    before = await storage.access.list_bindings(RESELLER, 100, None)
    with pytest.raises(BillingError) as error:
        await update(storage, *deltas, by=by)
    assert await storage.access.list_bindings(RESELLER, 100, None) == before
    return error.value.reason


async def held(storage: SqlStorage) -> list[tuple[str, Role]]:
    """Returns who has which role, newest first."""
    page = await storage.access.list_bindings(RESELLER, 100, None)
    return [(row.record.held.subject_id, row.record.held.role) for row in page]


async def test_roles_are_given_and_taken_with_event_and_audit(storage: SqlStorage) -> None:
    await storage.administration.add_service_account("nightly", "Nightly", START)
    first = await update(storage, give("nightly", Role.EDITOR, is_account=True), give("auth0|5"))
    page = await storage.access.list_bindings(RESELLER, 100, None)
    assert [row.record for row in page] == [
        AccessBinding(HeldRole("nightly", Role.EDITOR), is_account=True),
        AccessBinding(HeldRole("auth0|5", Role.VIEWER), is_account=False),
        AccessBinding(HeldRole("owner", Role.OWNER), is_account=False),
    ]
    second = await update(storage, take("auth0|5"), give("auth0|5", Role.ADMIN))
    binding = RoleBinding("auth0|5", RESELLER, Role.VIEWER, LATER)
    told = [(each.type, each.operation_id, each.data) for each in (await logged(storage))[1:]]
    assert told == [
        (
            EventType.ACCESS_GRANTED,
            first.id,
            RoleBinding("auth0|5", RESELLER, Role.VIEWER, LATER),
        ),
        (EventType.ACCESS_GRANTED, first.id, RoleBinding("nightly", RESELLER, Role.EDITOR, LATER)),
        (EventType.ACCESS_REVOKED, second.id, binding),
        (EventType.ACCESS_GRANTED, second.id, RoleBinding("auth0|5", RESELLER, Role.ADMIN, LATER)),
    ]
    assert all(event.actor == OWNER for event in (await logged(storage))[1:])
    audit = await storage.administration.list_audit_records(4)
    assert {(each.actor, each.action, each.target, each.details) for each in audit} == {
        ("owner", "roles.grant", "auth0|5", f"billing.accounts.viewer for {RESELLER}"),
        ("owner", "roles.revoke", "auth0|5", f"billing.accounts.viewer for {RESELLER}"),
        ("owner", "roles.grant", "auth0|5", f"billing.accounts.admin for {RESELLER}"),
        ("owner", "roles.grant", "nightly", f"billing.accounts.editor for {RESELLER}"),
    }
    assert await storage.operations.get_operation(second.id) == second
    listed = (await storage.operations.list_operations([RESELLER], None, 10, None)).rows
    assert [row.record for row in listed] == [second, first]


async def test_what_is_as_wanted_has_no_event(storage: SqlStorage) -> None:
    await update(storage, give("somebody"))
    for deltas in ([give("somebody")], [take("nobody")], [take("somebody"), give("somebody")]):
        assert (await update(storage, *deltas)).done
    assert len(await logged(storage)) == 2
    assert await held(storage) == [("somebody", Role.VIEWER), ("owner", Role.OWNER)]


async def test_nobody_gives_or_takes_more_than_they_have(storage: SqlStorage) -> None:
    await update(storage, give("admin", Role.ADMIN), give("editor", Role.EDITOR))
    admin, editor = Actor("admin"), Actor("editor")
    await update(storage, give("friend", Role.ADMIN), by=admin)
    for deltas, by in (
        ([give("friend", Role.OWNER)], admin),
        ([take("owner", Role.OWNER)], admin),
        ([give("friend"), give("admin", Role.OWNER)], admin),
        ([give("friend")], editor),
        ([give("friend")], Actor("stranger")),
    ):
        assert await refused(storage, *deltas, by=by) is Reason.PERMISSION_MISSING
    await storage.administration.grant_role("foreigner", SECOND_RESELLER, Role.OWNER, START)
    assert await refused(storage, give("f"), by=Actor("foreigner")) is Reason.PERMISSION_MISSING


async def test_the_last_owner_stays(storage: SqlStorage) -> None:
    assert await refused(storage, take("owner", Role.OWNER)) is Reason.LAST_OWNER
    assert (
        await refused(storage, give("admin", Role.ADMIN), take("owner", Role.OWNER))
        is Reason.LAST_OWNER
    )
    await update(storage, take("owner", Role.OWNER), give("heir", Role.OWNER))
    assert await held(storage) == [("heir", Role.OWNER)]


async def test_where_no_owner_is_the_last_admin_stays(storage: SqlStorage) -> None:
    await update(storage, give("admin", Role.ADMIN))
    await storage.administration.revoke_role("owner", RESELLER, Role.OWNER, START)
    admin = Actor("admin")
    assert await refused(storage, take("admin", Role.ADMIN), by=admin) is Reason.LAST_OWNER
    await update(storage, give("heir", Role.ADMIN), take("admin", Role.ADMIN), by=admin)
    assert await held(storage) == [("heir", Role.ADMIN)]


async def test_subjects_of_another_kind_are_refused(storage: SqlStorage) -> None:
    await storage.administration.add_service_account("nightly", "Nightly", START)
    for delta, field in (
        (give("unknown", is_account=True), "it.subject.id"),
        (give("nightly"), "it.subject.type"),
        (give("invitee"), "it.subject.id"),
        (give("operator:ann"), "it.subject.id"),
    ):
        with pytest.raises(BillingError) as error:
            await update(storage, give("other"), delta)
        assert error.value.reason is Reason.FIELDS_INVALID
        assert [each.field for each in error.value.fields] == [field]
    await update(storage, give("nightly", is_account=True))
    assert await refused(storage, take("nightly")) is Reason.FIELDS_INVALID
    await update(storage, take("nightly", is_account=True))
    assert await held(storage) == [("owner", Role.OWNER)]


async def test_an_outside_subjects_role_becomes_no_accounts(storage: SqlStorage) -> None:
    await update(storage, give("auth0|5"))
    with pytest.raises(BillingError, match="has roles already"):
        await storage.administration.add_service_account("auth0|5", "Nightly", START)


async def test_a_repeat_does_nothing_and_answers_the_same(storage: SqlStorage) -> None:
    first = await update(storage, give("somebody"), key_="one")
    await update(storage, take("somebody"))
    assert await update(storage, give("somebody"), key_="one") == first
    assert await held(storage) == [("owner", Role.OWNER)]


async def test_a_suspended_or_removed_reseller_is_left_alone(storage: SqlStorage) -> None:
    await storage.administration.suspend_reseller(RESELLER, START)
    assert await refused(storage, give("somebody")) is Reason.RESELLER_SUSPENDED
    await storage.administration.remove_reseller(RESELLER, START)
    assert await refused(storage, give("somebody")) is Reason.RESELLER_REMOVED


async def test_pages_are_of_one_reseller(storage: SqlStorage) -> None:
    await update(storage, *(give(f"subject-{number}") for number in range(4)))
    await storage.administration.grant_role("other", SECOND_RESELLER, Role.OWNER, START)
    found, after = [], None
    while page := await storage.access.list_bindings(RESELLER, 2, after):
        assert len(page) <= 2
        found += [row.record.held.subject_id for row in page]
        after = page[-1].cursor
    assert sorted(found) == ["owner", *(f"subject-{number}" for number in range(4))]


async def test_two_owners_that_remove_each_other_leave_one(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await update(storage, give("second", Role.OWNER))
    second = Actor("second")
    outcome = await overlap.run(
        update(overlap.first, take("second", Role.OWNER)),
        update(overlap.second, take("owner", Role.OWNER), by=second),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.PERMISSION_MISSING
    assert await held(storage) == [("owner", Role.OWNER)]


async def test_owners_that_step_back_at_once_leave_one(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await update(storage, give("second", Role.OWNER))
    outcome = await overlap.run(
        update(overlap.first, take("owner", Role.OWNER)),
        update(overlap.second, take("second", Role.OWNER), by=Actor("second")),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.LAST_OWNER
    assert await held(storage) == [("second", Role.OWNER)]


async def test_owners_that_step_back_in_one_batch_leave_one(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await update(storage, give("second", Role.OWNER))
    _, later = await overlap.in_one_batch(
        update(overlap.second, take("owner", Role.OWNER)),
        update(overlap.second, take("second", Role.OWNER), by=Actor("second")),
    )
    assert later.reason is Reason.LAST_OWNER
    assert await held(storage) == [("second", Role.OWNER)]


async def test_a_role_that_two_take_at_once_is_told_once(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await update(storage, give("somebody"))
    outcome = await overlap.run(
        overlap.first.administration.revoke_role("somebody", RESELLER, Role.VIEWER, LATER),
        update(overlap.second, take("somebody")),
    )
    assert outcome.waited
    assert isinstance(outcome.second, Operation)
    types = [event.type for event in await logged(storage)]
    assert types.count(EventType.ACCESS_REVOKED) == 1


async def test_an_account_that_is_being_removed_gets_no_role(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await storage.administration.add_service_account("nightly", "Nightly", START)
    outcome = await overlap.run(
        overlap.first.administration.remove_service_account("nightly", START),
        update(overlap.second, give("nightly", is_account=True)),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.FIELDS_INVALID
    assert await held(storage) == [("owner", Role.OWNER)]


async def test_an_account_with_the_id_of_who_is_being_given_a_role_is_refused(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """It would take the role of the outside issuer's subject."""
    outcome = await overlap.run(
        update(overlap.first, give("someone")),
        overlap.second.administration.add_service_account("someone", "An account", START),
    )
    assert outcome.waited
    assert "has roles already" in outcome.second.message
    assert await storage.administration.list_service_accounts() == []


@on_postgresql
async def test_batches_lock_resellers_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    """Else two would wait for each other."""
    await storage.administration.grant_role("owner", SECOND_RESELLER, Role.OWNER, START)

    def change(process: SqlStorage, reseller_id: str) -> Coroutine[None, None, Operation]:
        operation = access_update(reseller_id, "owner", LATER)
        return process.access.update_bindings(operation, [give("somebody")], OWNER, None)

    async def second_is_free() -> None:
        found = "SELECT 1 FROM resellers WHERE id = :id FOR UPDATE SKIP LOCKED"
        assert query(database_url, found, id=SECOND_RESELLER) == [(1,)]

    outcome = await overlap.run(
        change(overlap.first, RESELLER),
        overlap.in_one_batch(
            change(overlap.second, SECOND_RESELLER), change(overlap.second, RESELLER)
        ),
        meanwhile=second_is_free,
    )
    assert outcome.waited
    assert [each.reseller_id for each in outcome.second] == [SECOND_RESELLER, RESELLER]
