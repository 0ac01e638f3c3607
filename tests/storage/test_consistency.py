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

from server.domain.access import AccountKey, Role
from server.domain.customers import create_reseller_served, finished_operation
from server.domain.invitations import InvitationAction, link_token_hash, resend
from server.domain.operations import CANCELLED, Operation, OperationKind
from server.storage import SchemaError, consistency
from server.storage.consistency import Finding, check
from server.storage.interface import Delivery
from server.storage.invariants import SUBJECTS
from server.storage.schema import FOR_EVER
from server.storage.store import SqlStorage
from tests.storage.databases import Databases, query
from tests.storage.records import (
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

_FAILURE = """'["INTERNAL", "…", {}]'"""
_AN_INVITE = "(SELECT min(operation_id) FROM invitations WHERE state = 'pending')"
_A_RESENT = "(SELECT min(operation_id) FROM invitations WHERE resent_at IS NOT NULL)"
_THE_RESENDS = "(SELECT latest_operation_id FROM invitations WHERE resent_at IS NOT NULL)"
_AN_ACTIVATE = "(SELECT min(id) FROM operations WHERE kind = 'activate')"
_AN_OPEN_KEY = "(SELECT open_key FROM invitations WHERE state = 'pending' LIMIT 1)"
_A_CUSTOMER = "(SELECT min(id) FROM customers)"

# For each invariant statements, each of which breaks it by itself.
BREAKS = {
    "an operation's kind is known": ["UPDATE operations SET kind = 'other'"],
    "an operation is of a known reseller": ["UPDATE operations SET reseller_id = 'other'"],
    "an operation ends after it began": ["UPDATE operations SET modified_at = created_at - 1"],
    "an operation is done, due at some time, or held with its reseller": [
        "UPDATE resellers SET suspended_at = NULL, removed_at = NULL",
        "UPDATE operations SET due_at = NULL",
        "UPDATE operations SET due_at = 1 WHERE done",
    ],
    "a claimed operation is not done, and is attempted": [
        "UPDATE operations SET claimed = TRUE WHERE done",
        "UPDATE operations SET attempts = 0 WHERE claimed",
    ],
    "a deferred operation sends an e-mail, and is attempted": [
        "UPDATE operations SET deferral = '[]' WHERE kind = 'activate'",
        "UPDATE operations SET deferral = '[]', attempts = 0",
    ],
    "a failed operation is done": [f"UPDATE operations SET failure = {_FAILURE}"],
    "a deleted operation is done": ["UPDATE operations SET deleted = TRUE WHERE NOT done"],
    "an operation to be cancelled is done, or claimed": [
        "UPDATE operations SET cancel_requested = TRUE"
    ],
    "an operation sends an invitation's e-mail, or is done at once": [
        "UPDATE operations SET invitation_id = NULL",
        "UPDATE operations SET invitation_id = 'inv' WHERE kind = 'activate'",
        "UPDATE operations SET done = FALSE, due_at = 1 WHERE kind = 'activate'",
        "UPDATE operations SET attempts = 1 WHERE kind = 'activate'",
        f"UPDATE operations SET failure = {_FAILURE} WHERE kind = 'activate'",
    ],
    "an operation that has not failed has its customer": [
        "DELETE FROM customers WHERE state = 'acceptance_required'",
        "DELETE FROM customers WHERE email IS NULL",
    ],
    "an e-mail that has not failed has its invitation": [
        "DELETE FROM invitations WHERE state = 'pending'",
        "DELETE FROM invitations WHERE state = 'accepted'",
    ],
    "a failed Invite leaves no invitation that could be accepted": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE id = {_AN_INVITE}"
    ],
    "a failed Invite leaves no customer, or one with an ended invitation": [
        f"UPDATE operations SET customer_id = {_A_CUSTOMER} WHERE failure IS NOT NULL",
        "DELETE FROM customers WHERE id IN (SELECT customer_id FROM operations WHERE failure IS NOT NULL)",
    ],
    "an operation and its customer have the same reseller and account": [
        "UPDATE operations SET billing_account_id = 'other'",
        f"UPDATE customers SET reseller_id = '{SECOND_RESELLER}'",
    ],
    "an operation and its invitation have the same customer": [
        "UPDATE invitations SET customer_id = 'other'"
    ],
    "of an invitation's operations only the latest is not done": [
        f"UPDATE operations SET done = FALSE, due_at = 1 WHERE id = {_A_RESENT}"
    ],
    "an idempotency key stands for something": ["UPDATE idempotency_keys SET target_id = 'other'"],
    "an operation is kept for the keys that came after it": [
        "UPDATE operations SET keyed_at = NULL",
        "UPDATE operations SET keyed_at = keyed_at - 1",
    ],
    "a customer is of a known reseller": ["UPDATE customers SET reseller_id = 'other'"],
    "a customer changes after it was made": ["UPDATE customers SET modified_at = created_at - 1"],
    "a customer has the operation that made it": [
        "DELETE FROM operations WHERE kind = 'create_reseller_served'",
        "DELETE FROM operations WHERE kind = 'invite'",
    ],
    "a customer with an address has an invitation, and no other": [
        "UPDATE customers SET email = NULL",
        "UPDATE customers SET email = 'x@example.com'",
        "DELETE FROM invitations",
    ],
    "a customer's state is what its invitation's makes it": [
        "UPDATE customers SET state = 'active'",
        "UPDATE customers SET state = 'inactive' WHERE state = 'suspended'",
        "UPDATE customers SET state = 'inactive' WHERE email IS NULL",
        "UPDATE customers SET state = 'other' WHERE email IS NULL",
        "UPDATE invitations SET state = 'other' WHERE state = 'accepted'",
    ],
    "a customer has one invitation at most": [
        f"UPDATE invitations SET customer_id = {_A_CUSTOMER}"
    ],
    "a reseller has as many customers as are counted": [
        "UPDATE counts SET count = count + 1",
        "DELETE FROM counts",
        "DELETE FROM customers WHERE email IS NULL",
    ],
    "an e-mail that is counted was accepted, and not for ever": [
        "INSERT INTO counts VALUES ('customers/other', 1, 1)",
        f"INSERT INTO counts VALUES ('hour/{RESELLER}', {FOR_EVER}, 1)",
        f"INSERT INTO counts VALUES ('hour/{RESELLER}', 1, -1)",
    ],
    "an invitation's state is known": ["UPDATE invitations SET state = 'other'"],
    "an invitation is open while it is pending": [
        "UPDATE invitations SET open_key = NULL",
        "UPDATE invitations SET state = 'revoked'",
    ],
    "an invitation that is not pending has ended at some time": [
        "UPDATE invitations SET ended_at = NULL",
        "UPDATE invitations SET ended_at = expires_at WHERE state = 'pending'",
    ],
    "an invitation expires and ends after it was made": [
        "UPDATE invitations SET expires_at = created_at",
        "UPDATE invitations SET ended_at = created_at - 1 WHERE ended_at IS NOT NULL",
    ],
    "an invitation and its customer have the same reseller and address": [
        "UPDATE invitations SET email = 'x@example.com'",
        f"UPDATE invitations SET reseller_id = '{SECOND_RESELLER}'",
        "DELETE FROM customers",
    ],
    "an invitation has the Invite that made it": [
        "DELETE FROM operations WHERE kind = 'invite'",
        f"UPDATE operations SET kind = 'resend' WHERE id = {_AN_INVITE}",
        f"UPDATE operations SET invitation_id = 'other' WHERE id = {_AN_INVITE}",
    ],
    "an invitation has the operation that sent it last": [
        "DELETE FROM operations WHERE kind = 'resend'",
        "UPDATE operations SET invitation_id = 'other' WHERE kind = 'resend'",
    ],
    "an invitation that was sent again is not as before": [
        "UPDATE invitations SET previous_expires_at = NULL",
        "UPDATE invitations SET previous_operation_id = latest_operation_id, previous_expires_at = 1",
        "UPDATE invitations SET previous_operation_id = 'other', previous_expires_at = 1",
    ],
    "a pending invitation's resend that failed is undone": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE id IN {_THE_RESENDS}"
    ],
    "an invitation was sent again by another operation than at first": [
        "UPDATE invitations SET resent_at = NULL",
        "UPDATE invitations SET resent_at = created_at",
    ],
    "a pending invitation that was sent can be accepted by a link": [
        "DELETE FROM link_tokens",
        f"UPDATE link_tokens SET operation_id = {_A_RESENT}",
    ],
    "an invitation's links are cleared after its end, and all of them": [
        "UPDATE invitations SET linked = FALSE WHERE state = 'pending'",
        "UPDATE invitations SET linked = FALSE WHERE state = 'accepted'",
    ],
    "one open invitation has the same reseller, address and tax number": [
        f"DROP INDEX invitations_open; UPDATE invitations SET open_key = {_AN_OPEN_KEY} WHERE ended_at IS NULL"
    ],
    "a link leads to an invitation": ["UPDATE link_tokens SET invitation_id = 'other'"],
    "a link was sent by an operation of its invitation": [
        "UPDATE link_tokens SET operation_id = 'other'",
        f"UPDATE link_tokens SET operation_id = {_AN_ACTIVATE}",
    ],
    "an operation that sent a link has attempted to": ["UPDATE operations SET attempts = 0"],
    "a role is for a reseller that is known": ["DELETE FROM resellers"],
    "a key is a service account's": ["DELETE FROM service_accounts"],
    "the audit tells of each service account": ["DELETE FROM audit_records"],
    "the audit tells of each key": ["DELETE FROM audit_records"],
    "the audit tells of each reseller's removal": ["DELETE FROM audit_records"],
    "the audit tells of each reseller's suspension": ["DELETE FROM audit_records"],
}
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
        await _end_operations(storage)
        await _leave_some_unfinished(storage)


async def _grant_access(storage: SqlStorage) -> None:
    await storage.add_service_account("account-1", "Account", START)
    for reseller_id in (RESELLER, SECOND_RESELLER, "removed", "suspended"):
        await storage.add_reseller(reseller_id, "Reseller", START)
        await storage.grant_role("account-1", reseller_id, Role.EDITOR, START)
    await storage.create_invitation(new(reseller_id="suspended"), key("suspended"))
    await storage.suspend_reseller("suspended", START)
    await storage.remove_reseller("removed", START)
    await storage.add_account_key(AccountKey("key-1", "account-1", "RSA_2048", "PEM", START))


async def _clear_old_ones(storage: SqlStorage) -> None:
    """Leaves customers and invitations whose operations and links are cleared."""
    long_ago = START - 200 * DAY
    delivery = await _sent(storage, long_ago)
    link = link_token_hash(delivery.link_token)
    assert await storage.answer_invitation(link, InvitationAction.ACCEPT, long_ago, None)
    await _sent(storage, long_ago)
    await _created(storage, long_ago)
    before = START - 100 * DAY
    assert await storage.expire_invitations(before, 10) == 1
    assert await storage.clear_idempotency_keys(before, 10) == 2
    assert await storage.clear_operations(before, 10) == 3
    assert await storage.clear_links(before, 10) == 2


async def _serve(storage: SqlStorage) -> None:
    """Creates, suspends and activates customers, with keys that come then and later."""
    for _ in range(2):
        operation = await _created(storage, START)
        for kind in (OperationKind.SUSPEND, OperationKind.ACTIVATE):
            await _change(storage, operation.customer_id, kind)
        await storage.cancel_operation(operation.id, START + DAY, key(operation.id))
    await storage.delete_operation(operation.id, START + DAY, key("delete"))
    await _change(storage, operation.customer_id, OperationKind.SUSPEND)


async def _end_invitations(storage: SqlStorage) -> None:
    """One pending, one sent again, and two of each end, of which one customer is suspended."""
    await _sent(storage)
    again = await _sent(storage)
    await _resend(storage, again, START)
    assert await storage.finish_delivery(await claimed(storage), START)
    undone = await _sent(storage)
    await _resend(storage, undone, START)
    assert await storage.fail_delivery(await claimed(storage), CANCELLED, START)
    for number in range(2):
        for action in (InvitationAction.ACCEPT, InvitationAction.DECLINE):
            delivery = await _sent(storage)
            link, name = link_token_hash(delivery.link_token), key(f"{action} {number}")
            assert await storage.answer_invitation(link, action, START + DAY, name)
            if action is InvitationAction.ACCEPT:
                accepted = await storage.get_invitation(delivery.invitation_id)
        revoked = await _sent(storage)
        await storage.revoke_invitation(revoked.invitation_id, START + DAY, key(f"end {number}"))
        await _sent(storage, START - 40 * DAY)
    assert accepted
    await _change(storage, accepted.customer_id, OperationKind.SUSPEND)
    assert await storage.expire_invitations(START - 5 * DAY, 10) == 2


async def _end_operations(storage: SqlStorage) -> None:
    """One is refused, one cancelled, and one revoked before it was sent."""
    await invited(storage)
    assert await storage.fail_delivery(await claimed(storage), CANCELLED, START)
    cancelled = await invited(storage)
    assert await storage.cancel_operation(cancelled.id, START, key("cancel"))
    revoked = new()
    await storage.create_invitation(revoked, None)
    assert await storage.revoke_invitation(revoked.invitation.id, START, None)
    assert await storage.claim_deliveries(10, START, LEASE) == []


async def _leave_some_unfinished(storage: SqlStorage) -> None:
    """One held, one held and to be cancelled, one tried, one sent again, two new."""
    for name in ("held", "held and cancelled"):
        operation = await storage.create_invitation(new(), key(name))
        await claimed(storage)
    await storage.cancel_operation(operation.id, START, key("cancel what is held"))
    await invited(storage)
    assert await storage.retry_delivery(await claimed(storage), START + DAY, START)
    await _resend(storage, await _sent(storage), START)
    await invited(storage)
    await invited(storage)


async def _sent(storage: SqlStorage, now: datetime = START) -> Delivery:
    """Records an invitation and that its e-mail has gone out."""
    await storage.create_invitation(new(now=now), key(f"{uuid.uuid4()}"))
    delivery = await claimed(storage, now)
    assert await storage.finish_delivery(delivery, now)
    return delivery


async def _resend(storage: SqlStorage, delivery: Delivery, now: datetime) -> None:
    invitation = await storage.get_invitation(delivery.invitation_id)
    assert invitation
    customer = await storage.get_customer(invitation.customer_id)
    assert customer
    operation = resend(customer, resent_by="subject-1", now=now)
    until = now + INVITATION_LIFETIME
    assert await storage.resend_invitation(invitation.id, operation, until, DAY, None)


async def _created(storage: SqlStorage, now: datetime) -> Operation:
    made = create_reseller_served(
        reseller_id=RESELLER, name="Customer", person={}, created_by="subject-1", now=now
    )
    return await storage.create_customer(made, None)


async def _change(storage: SqlStorage, customer_id: str, kind: OperationKind) -> None:
    customer = await storage.get_customer(customer_id)
    assert customer
    operation = finished_operation(kind, customer, "subject-1", START)
    assert await storage.change_customer_state(operation, key(operation.id))


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
    texts = [text for subject in SUBJECTS for text in subject.invariants]
    assert sorted(texts) == sorted(BREAKS)


def test_use_breaks_nothing(used: str) -> None:
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
        "UPDATE customers SET state = 'suspended' WHERE state = 'acceptance_required' RETURNING id",
    )
    ids = {id_ for (id_,) in broken}
    assert len(ids) > consistency.MOST_IDS
    (found,) = _broken(copy).values()
    assert found.count == len(ids)
    assert len(set(found.ids)) == consistency.MOST_IDS
    assert set(found.ids) < ids


def test_all_is_seen_as_of_one_moment(copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others write meanwhile is neither held up nor seen."""
    examine = consistency._examine

    def disturbed(*arguments: Any) -> list[Finding]:
        findings = examine(*arguments)
        query(copy, "UPDATE invitations SET state = 'other'")
        return findings

    monkeypatch.setattr(consistency, "_examine", disturbed)
    assert _broken(copy) == {}
    assert "an invitation's state is known" in _broken(copy)


def test_another_schema_is_refused(databases: Databases) -> None:
    with pytest.raises(SchemaError, match="python -m server migrate"):
        check(databases.empty("unchecked"))


@pytest.mark.parametrize("statement", ["", "UPDATE customers SET state = 'inactive'"])
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
        (line,) = broken
        assert "a customer's state is what its invitation's makes it: bcu" in line
        assert f"1 of {len(BREAKS)} invariants are broken" in done.stderr
