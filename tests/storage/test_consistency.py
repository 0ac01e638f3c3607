"""The check finds each invariant that is broken, and nothing in a database that was only used."""

import asyncio
import os
import subprocess
import sys
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from server.domain.access import AccountKey, Actor, Role
from server.domain.bounces import BounceReport, parse_bounce_local_part
from server.domain.customers import create_reseller_served, finished_operation
from server.domain.invitations import InvitationAction, link_token_hash, resend
from server.domain.operations import CANCELLED, Operation, OperationKind
from server.domain.role_changes import AccessBinding, HeldRole, RoleDelta, access_update
from server.storage import SchemaError
from server.storage.check import Finding, check, consistency
from server.storage.check.invariants import CHECKS, ROW_CHECKS
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.broken_invariants import BREAKS
from tests.storage.databases import Databases, query
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    invited,
    key,
    new,
    opened,
)
from tests.storage.webhooks import broken as webhooks_broken

CASES = [(text, statements) for text, each in BREAKS.items() for statements in each]


@pytest.fixture(scope="module")
def used(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with records in each state that there is."""
    url = databases.migrated(tmp_path_factory.mktemp("used"))
    asyncio.run(_use(url))
    return url


async def _use(database_url: str) -> None:
    async with opened(database_url) as storage:
        await _grant_access(storage)
        await _clear_old_ones(storage)
        await _serve(storage)
        await _end_invitations(storage)
        await _suppress_addresses(storage)
        await _end_operations(storage)
        await _leave_some_unfinished(storage)
        await webhooks_broken.use_webhooks(storage)


async def _grant_access(storage: SqlStorage) -> None:
    await storage.administration.add_service_account("account-1", "Account", START)
    for reseller_id in (RESELLER, SECOND_RESELLER, "removed", "suspended"):
        await storage.administration.add_reseller(reseller_id, "Reseller", START)
        await storage.administration.grant_role("account-1", reseller_id, Role.EDITOR, START)
    await storage.administration.grant_role("owner", RESELLER, Role.OWNER, START)
    viewer = AccessBinding(HeldRole("viewer", Role.VIEWER), is_account=False)
    for give in (True, False, True):
        operation = access_update(RESELLER, "owner", START)
        await storage.access.update_bindings(
            operation, [RoleDelta(give, viewer, "")], Actor("owner"), key(operation.id)
        )
    held = new(reseller_id="suspended")
    await storage.invitations.create_invitation(held, key("suspended"))
    await storage.administration.suspend_reseller("suspended", START)
    await storage.administration.remove_reseller("removed", START)
    await storage.administration.add_account_key(
        AccountKey("key-1", "account-1", "RSA_2048", "PEM", START)
    )


async def _clear_old_ones(storage: SqlStorage) -> None:
    """Leaves customers and invitations whose operations and links are cleared."""
    long_ago = START - 200 * DAY
    delivery = await _sent(storage, long_ago)
    link = link_token_hash(delivery.link_token)
    assert await storage.invitations.answer_invitation(
        link, InvitationAction.ACCEPT, long_ago, ACTOR, None
    )
    await _sent(storage, long_ago)
    await _created(storage, long_ago)
    before = START - 100 * DAY
    assert await storage.retention.expire_invitations(before, 10) == 1
    assert await storage.retention.clear_idempotency_keys(before, 10) == 2
    assert await storage.retention.clear_operations(before, 10) == 3
    assert await storage.retention.clear_links(before, 10) == 2


async def _serve(storage: SqlStorage) -> None:
    """Creates, suspends and activates customers, with keys that come then and later."""
    for _ in range(2):
        operation = await _created(storage, START)
        for kind in (OperationKind.SUSPEND, OperationKind.ACTIVATE):
            await _change(storage, operation.customer_id, kind)
        await storage.operations.cancel_operation(
            operation.id, START + DAY, ACTOR, key(operation.id)
        )
    await storage.operations.delete_operation(operation.id, START + DAY, key("delete"))
    await _change(storage, operation.customer_id, OperationKind.SUSPEND)


async def _end_invitations(storage: SqlStorage) -> None:
    """One pending, one sent again, and two of each end, of which one customer is suspended."""
    await _sent(storage)
    again = await _sent(storage)
    await _resend(storage, again, START)
    assert await storage.mail.finish_delivery(await claimed(storage), START)
    undone = await _sent(storage)
    await _resend(storage, undone, START)
    assert await storage.mail.fail_delivery(await claimed(storage), CANCELLED, START)
    for number in range(2):
        for action in (InvitationAction.ACCEPT, InvitationAction.DECLINE):
            delivery = await _sent(storage)
            link, name = link_token_hash(delivery.link_token), key(f"{action} {number}")
            assert await storage.invitations.answer_invitation(
                link, action, START + DAY, ACTOR, name
            )
            if action is InvitationAction.ACCEPT:
                accepted = await storage.invitations.get_invitation(delivery.invitation_id)
        revoked = await _sent(storage)
        await storage.invitations.revoke_invitation(
            revoked.invitation_id, START + DAY, ACTOR, key(f"end {number}")
        )
        await _sent(storage, START - 40 * DAY)
    assert accepted
    await _change(storage, accepted.customer_id, OperationKind.SUSPEND)
    assert await storage.retention.expire_invitations(START - 5 * DAY, 10) == 2


async def _suppress_addresses(storage: SqlStorage) -> None:
    """One address has bounced, and one has an owner who wants no e-mails."""
    for is_bounced in (True, False):
        delivery = await _sent(storage)
        if is_bounced:
            token = parse_bounce_local_part(delivery.bounce_local_part)
            assert token
            report = BounceReport(True, True, 550, "5.1.1")
            assert (await storage.bounces.record_bounce(token, report, START)).is_recorded
        else:
            link = link_token_hash(delivery.link_token)
            assert await storage.suppressions.suppress_by_link(link, START, ACTOR)


async def _end_operations(storage: SqlStorage) -> None:
    """One is refused, one cancelled, and one revoked before it was sent."""
    await invited(storage)
    assert await storage.mail.fail_delivery(await claimed(storage), CANCELLED, START)
    cancelled = await invited(storage)
    assert await storage.operations.cancel_operation(cancelled.id, START, ACTOR, key("cancel"))
    revoked = new()
    await storage.invitations.create_invitation(revoked, None)
    assert await storage.invitations.revoke_invitation(revoked.invitation.id, START, ACTOR, None)
    assert await storage.mail.claim_deliveries(10, START, LEASE) == []


async def _leave_some_unfinished(storage: SqlStorage) -> None:
    """One held, one held and to be cancelled, one tried, one sent again, two new."""
    for name in ("held", "held and cancelled"):
        operation = await storage.invitations.create_invitation(new(), key(name))
        await claimed(storage)
    await storage.operations.cancel_operation(
        operation.id, START, ACTOR, key("cancel what is held")
    )
    await invited(storage)
    assert await storage.mail.retry_delivery(await claimed(storage), START + DAY, START)
    await _resend(storage, await _sent(storage), START)
    await invited(storage)
    await invited(storage)


async def _sent(storage: SqlStorage, now: datetime = START) -> Delivery:
    """Records an invitation and that its e-mail has gone out."""
    await storage.invitations.create_invitation(new(now=now), key(f"{uuid.uuid4()}"))
    delivery = await claimed(storage, now)
    assert await storage.mail.finish_delivery(delivery, now)
    return delivery


async def _resend(storage: SqlStorage, delivery: Delivery, now: datetime) -> None:
    invitation = await storage.invitations.get_invitation(delivery.invitation_id)
    assert invitation
    customer = await storage.customers.get_customer(invitation.customer_id)
    assert customer
    operation = resend(customer, resent_by="subject-1", now=now)
    until = now + INVITATION_LIFETIME
    assert await storage.invitations.resend_invitation(
        invitation.id, operation, until, DAY, ACTOR, None
    )


async def _created(storage: SqlStorage, now: datetime) -> Operation:
    made = create_reseller_served(
        reseller_id=RESELLER, name="Customer", person={}, actor=Actor("subject-1"), now=now
    )
    return await storage.customers.create_customer(made, None)


async def _change(storage: SqlStorage, customer_id: str, kind: OperationKind) -> None:
    customer = await storage.customers.get_customer(customer_id)
    assert customer
    operation = finished_operation(kind, customer, "subject-1", START)
    assert await storage.customers.change_customer_state(operation, ACTOR, key(operation.id))


@pytest.fixture
def copy(databases: Databases, used: str, tmp_path: Path) -> str:
    """A copy of `used`, to be broken."""
    url = databases.copy(used, tmp_path)
    if databases.kind == "postgresql":  # SQLite leaves it to each connection
        for table, column in (
            ("account_keys", "service_account_id"),
            ("role_bindings", "reseller_id"),
        ):
            query(url, f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_fkey")
    return url


def _broken(database_url: str) -> dict[str, Finding]:
    return {found.invariant: found for found in check(database_url) if found.count}


def test_each_invariant_is_broken_below() -> None:
    texts = [text for each in CHECKS for text in each.invariants]
    texts += [text for each in ROW_CHECKS for text in each.invariants]
    assert sorted(texts) == sorted(BREAKS)


def test_ordinary_use_breaks_no_invariant(used: str) -> None:
    assert _broken(used) == {}


@pytest.mark.parametrize(("invariant", "statements"), CASES)
def test_what_is_broken_is_found(copy: str, invariant: str, statements: str) -> None:
    for statement in statements.split(";"):
        query(copy, statement)
    found = _broken(copy)[invariant]
    assert 0 < len(found.ids) <= consistency.MOST_IDS
    assert len(found.ids) <= found.count


def test_those_that_break_an_invariant_are_counted_and_named(copy: str) -> None:
    broken = query(
        copy,
        "UPDATE customers SET state = 3 WHERE state = 1 RETURNING id",
    )
    ids = {id_ for (id_,) in broken}
    assert len(ids) > consistency.MOST_IDS
    found = _broken(copy)["a customer's state is what its invitation's makes it"]
    assert found.count == len(ids)
    assert len(set(found.ids)) == consistency.MOST_IDS
    assert set(found.ids) < ids


def test_all_is_seen_as_of_one_moment(copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others write meanwhile is neither held up nor seen."""
    examine = consistency._examine

    def disturbed(*arguments: Any) -> list[Finding]:
        findings = examine(*arguments)
        query(copy, "UPDATE customers SET invitation = 9")
        return findings

    monkeypatch.setattr(consistency, "_examine", disturbed)
    assert _broken(copy) == {}
    assert "an invitation's state is known" in _broken(copy)


def test_another_schema_is_refused(databases: Databases) -> None:
    with pytest.raises(SchemaError, match="billing-server migrate"):
        check(databases.empty("unchecked"))


@pytest.mark.parametrize("statement", ["", "UPDATE customers SET state = 4"])
def test_the_command_prints_each_invariant_and_fails_if_one_is_broken(
    copy: str, statement: str, tmp_path: Path
) -> None:
    if statement:
        query(copy, statement)
    environment = {
        **os.environ,
        "BILLING_DATABASE_URL": copy,
        "BILLING_VAR": str(tmp_path),
    }
    command = [sys.executable, "-m", "server", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if statement else 0), done.stderr
    broken = [line for line in done.stdout.splitlines() if not line.strip().startswith("0  ")]
    listed = [line for line in done.stdout.splitlines() if line[:7].strip().isdigit()]
    assert len(listed) == len(BREAKS)
    if statement:
        of_state, of_events = broken
        assert "a customer's state is what its invitation's makes it: bcu" in of_state
        assert "a customer's last event shows it as it is: bcu" in of_events
        assert f"2 of {len(BREAKS)} invariants are broken" in done.stderr
