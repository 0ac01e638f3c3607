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
from server.storage.schema.tables import FOR_EVER
from server.storage.storage import SqlStorage
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

_FAILURE = """'["INTERNAL", "…", {}]'"""
_AN_INVITE = "(SELECT min(n) FROM customers WHERE invitation = 1)"
_A_RESENT = "(SELECT min(n) FROM customers WHERE resent_at IS NOT NULL)"
_THE_RESENDS = "(SELECT latest FROM customers WHERE resent_at IS NOT NULL)"
_AN_ACTIVATE = "(SELECT min(n) FROM operations WHERE kind = 4)"
_AN_ENDED = "(SELECT min(n) FROM customers WHERE invitation > 1)"

# For each invariant statements, each of which breaks it by itself.
BREAKS = {
    "an operation's kind is known": ["UPDATE operations SET kind = 9"],
    "an operation is of a known reseller": ["UPDATE operations SET reseller = 99"],
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
        "UPDATE operations SET deferral = '[]' WHERE kind = 4",
        "UPDATE operations SET deferral = '[]', attempts = 0",
    ],
    "a failed operation is done": [f"UPDATE operations SET failure = {_FAILURE}"],
    "a deleted operation is done": ["UPDATE operations SET deleted = TRUE WHERE NOT done"],
    "an operation to be cancelled is done, or claimed": [
        "UPDATE operations SET cancel_requested = TRUE"
    ],
    "an operation sends an invitation's e-mail, or is done at once": [
        "UPDATE customers SET invitation = 0",
        "UPDATE operations SET done = FALSE, due_at = 1 WHERE kind = 4",
        "UPDATE operations SET attempts = 1 WHERE kind = 4",
        f"UPDATE operations SET failure = {_FAILURE} WHERE kind = 4",
    ],
    "a deleted customer has no open invitation": [
        "UPDATE customers SET deleted_at = modified_at WHERE invitation = 1"
    ],
    "an operation that is not done has its customer": ["DELETE FROM customers WHERE state = 1"],
    "a failed Invite leaves no invitation that could be accepted": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE n = {_AN_INVITE}"
    ],
    "an operation keeps the IDs of its customer once that is gone, and not before": [
        "UPDATE operations SET customer_id = NULL",
        "UPDATE operations SET billing_account_id = NULL",
        "UPDATE operations SET id = NULL",
        "UPDATE operations SET customer_id = 'bcu'",
        "UPDATE operations SET billing_account_id = 'bac'",
        "DELETE FROM customers WHERE state = 4",
    ],
    "an operation makes the customer that has its number, and no other": [
        "UPDATE operations SET kind = 4 WHERE kind = 1",
        "UPDATE operations SET kind = 3 WHERE kind = 4",
    ],
    "an operation without an ID of its own made its customer": [
        "UPDATE operations SET id = NULL WHERE kind = 4"
    ],
    "an operation and its customer have the same reseller": [
        "UPDATE customers SET reseller = 2",
        "UPDATE operations SET reseller = 2",
    ],
    "of an invitation's operations only the latest is not done": [
        f"UPDATE operations SET done = FALSE, due_at = 1 WHERE n = {_A_RESENT}"
    ],
    "an operation has an idempotency key and its fingerprint, or neither": [
        "UPDATE operations SET key = NULL",
        "UPDATE operations SET fingerprint = NULL",
    ],
    "an idempotency key stands for something": [
        "UPDATE idempotency_keys SET target = 999",
        "UPDATE idempotency_keys SET target_kind = 9",
        "UPDATE customers SET invitation = 0",
    ],
    "an idempotency key stands for one thing": [
        (
            f"UPDATE operations SET fingerprint = 'x', key = (SELECT key FROM idempotency_keys LIMIT 1) "
            f"WHERE n = {_AN_ACTIVATE}"
        )
    ],
    "an event is in the log of a known reseller": [
        "DELETE FROM event_logs",
        "UPDATE events SET reseller = 99 WHERE reseller = 1 AND number = 1",
    ],
    "an event's type is known": ["UPDATE events SET type = 99"],
    "the events of a log have all numbers from the first that is kept to the last": [
        "DELETE FROM events WHERE number = 1",
        "DELETE FROM events WHERE number = 2",
        "UPDATE event_logs SET last = last + 1",
        "UPDATE event_logs SET cleared = cleared + 1",
    ],
    "an operation that ended has its event": [
        "UPDATE events SET operation_id = NULL",
        "UPDATE events SET type = 1 WHERE type = 4",
        "UPDATE events SET type = 1 WHERE type = 5",
    ],
    "a customer's last event shows it as it is": [
        "UPDATE customers SET name = 'Another' WHERE email IS NULL",
        "UPDATE customers SET expires_at = expires_at + 1",
        "UPDATE customers SET state = 3 WHERE state = 2",
        "UPDATE events SET customer = NULL",
    ],
    "an operation is kept for the keys that did not make it": [
        "UPDATE operations SET keyed_at = NULL",
        "UPDATE operations SET keyed_at = keyed_at - 1",
    ],
    "a customer is of a known reseller": ["UPDATE customers SET reseller = 99"],
    "a customer changes after it was made": ["UPDATE customers SET modified_at = created_at - 1"],
    "a customer has the operation that made it": [
        "DELETE FROM operations WHERE kind = 3",
        "DELETE FROM operations WHERE kind = 1",
        "UPDATE operations SET kind = 3 WHERE kind = 1",
        "UPDATE operations SET kind = 1 WHERE kind = 3",
    ],
    "a customer with an invitation has all its parts, and one without has none": [
        "UPDATE customers SET email = NULL",
        "UPDATE customers SET email = 'x@example.com'",
        "UPDATE customers SET address_key = NULL",
        "UPDATE customers SET slot = NULL",
        "UPDATE customers SET expires_at = NULL",
        "UPDATE customers SET latest = NULL",
        "UPDATE customers SET latest = 1 WHERE email IS NULL",
        "UPDATE customers SET ended_at = created_at WHERE email IS NULL",
        "UPDATE customers SET resent_at = created_at WHERE email IS NULL",
        "UPDATE customers SET options = '{}' WHERE email IS NULL",
        "UPDATE customers SET invitation = 0",
        "UPDATE customers SET invitation = 2 WHERE email IS NULL",
    ],
    "a customer's state is what its invitation's makes it": [
        "UPDATE customers SET state = 2",
        "UPDATE customers SET state = 4 WHERE state = 3",
        "UPDATE customers SET state = 4 WHERE email IS NULL",
        "UPDATE customers SET state = 9 WHERE email IS NULL",
        "UPDATE customers SET invitation = 9 WHERE invitation = 2",
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
    "an invitation's state is known": ["UPDATE customers SET invitation = 9"],
    "an invitation has an open slot while it is pending, and then one of its own": [
        "UPDATE customers SET slot = -n WHERE invitation = 1",
        "UPDATE customers SET slot = n WHERE invitation > 1",
        f"UPDATE customers SET slot = -999 WHERE n = {_AN_ENDED}",
        "UPDATE customers SET invitation = 4 WHERE invitation = 1",
    ],
    "an invitation that is not pending has ended at some time": [
        "UPDATE customers SET ended_at = NULL",
        "UPDATE customers SET ended_at = expires_at WHERE invitation = 1",
    ],
    "an invitation expires and ends after it was made": [
        "UPDATE customers SET expires_at = created_at",
        "UPDATE customers SET ended_at = created_at - 1 WHERE ended_at IS NOT NULL",
    ],
    "an invitation has the operation that sent it last": [
        "DELETE FROM operations WHERE kind = 2",
        "UPDATE operations SET customer = 999 WHERE kind = 2",
        "UPDATE operations SET kind = 4 WHERE kind = 2",
    ],
    "an invitation that was sent again is not as before": [
        "UPDATE customers SET previous_expires_at = NULL",
        "UPDATE customers SET previous_latest = latest, previous_expires_at = 1 WHERE latest > 0",
        "UPDATE customers SET previous_latest = 999, previous_expires_at = 1 WHERE latest > 0",
    ],
    "a pending invitation's resend that failed is undone": [
        f"UPDATE operations SET failure = {_FAILURE} WHERE n IN {_THE_RESENDS}"
    ],
    "an invitation was sent again by another operation than at first": [
        "UPDATE customers SET resent_at = NULL",
        "UPDATE customers SET resent_at = created_at WHERE invitation > 0",
    ],
    "a pending invitation that was sent can be accepted by a link": [
        "DELETE FROM link_tokens",
        f"UPDATE link_tokens SET operation = {_A_RESENT}",
    ],
    "an invitation tells how its latest e-mail stands that was sent": [
        "UPDATE customers SET sent = NULL"
    ],
    "an address that nothing is sent to is counted beyond all limits": [
        "DELETE FROM counts WHERE scope = (SELECT min(scope) FROM suppressions)",
        "UPDATE suppressions SET reason = 9",
    ],
    "an address that bounced is kept, for whom it did; one whose owner asked is not": [
        "UPDATE suppressions SET email = NULL",
        "UPDATE suppressions SET reseller = NULL",
    ],
    "an address that is counted for ever is one that nothing is sent to": [
        "DELETE FROM suppressions"
    ],
    "only an invitation has e-mails, in a known state": [
        "UPDATE customers SET sent = '[]' WHERE invitation = 0",
        "UPDATE customers SET delivery = 1 WHERE invitation = 0",
        "UPDATE customers SET delivery = 9",
    ],
    "an invitation's links are cleared after its end, and all of them": [
        "UPDATE customers SET has_links = FALSE WHERE invitation = 1",
        "UPDATE customers SET has_links = FALSE WHERE invitation = 2",
    ],
    "two invitations for one address have two slots": [
        (
            "DROP INDEX customers_by_address; "
            "UPDATE customers SET address_key = 1, slot = 1 WHERE ended_at IS NULL"
        )
    ],
    "a reminder is of an invitation": [
        "INSERT INTO reminders (n, days, requested_at) VALUES (999, 1, 1)",
    ],
    "a link to the latest e-mail was sent to the invitation's address": [
        "UPDATE link_tokens SET email = 'a@example.com'",
    ],
    "a link leads to an invitation": [
        "UPDATE link_tokens SET customer = 999",
        "UPDATE customers SET invitation = 0",
    ],
    "a link was sent by an operation of its invitation": [
        "UPDATE link_tokens SET operation = 999",
        f"UPDATE link_tokens SET operation = {_AN_ACTIVATE}",
    ],
    "a link is found by its hash": [
        "UPDATE link_tokens SET n = n + 1 WHERE n = (SELECT max(n) FROM link_tokens)"
    ],
    "an invitation's options can be read": [
        f"UPDATE customers SET options = '{options}' WHERE email IS NOT NULL"
        for options in ("x", "[]", "{}", '{"no": 1}', '{"lifetime": 1}', '{"method":"x"}')
    ],
    "an invitation without e-mails is one that asks for none": [
        "UPDATE customers SET delivery = 3 WHERE invitation = 1 AND delivery IS NULL",
        """UPDATE customers SET options = '{"method":"link"}' WHERE delivery IS NULL AND email IS NOT NULL""",
    ],
    "an invitation is found by its address": [
        "UPDATE customers SET email = 'x@example.com' WHERE email IS NOT NULL",
        "UPDATE customers SET address_key = n",
    ],
    "an open invitation has a slot made of its tax number": [
        "UPDATE customers SET person = '{}' WHERE invitation = 1",
        "UPDATE customers SET slot = n WHERE invitation = 1",
    ],
    "one open invitation has the same reseller, address and tax number": [
        (
            "UPDATE customers SET email = 'x@example.com', reseller = 1, address_key = 1, slot = n "
            "WHERE invitation = 1"
        )
    ],
    **webhooks_broken.BREAKS,
    "a reseller's contact details and origins can be read": [
        "UPDATE resellers SET contact_details = 'x'",
        "UPDATE resellers SET contact_details = '[1, 2, 3, 4]'",
        "UPDATE resellers SET return_origins = '[]'",
        """UPDATE resellers SET return_origins = '["ftp://a.example"]'""",
    ],
    "a role is for a reseller that is known": ["DELETE FROM resellers"],
    "the last event of a role tells whether it is held, and since when": [
        "DELETE FROM role_bindings",
        "UPDATE role_bindings SET created_at = created_at + 1",
        "UPDATE role_bindings SET role = 'billing.accounts.owner'",
        "UPDATE events SET type = 20 WHERE type = 19",
    ],
    "an operation on access has no customer, and every other one has": [
        "UPDATE operations SET customer = 1 WHERE kind = 6",
        "UPDATE operations SET kind = 6 WHERE customer <> 0",
    ],
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
