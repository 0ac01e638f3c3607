"""Who may do what, in the storage, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from server.domain.access import AccountKey, AuditRecord, Role, Subject, VerifiedToken
from server.domain.errors import BillingError, Reason
from server.os_user import os_user
from server.storage.storage import SqlStorage
from tests.storage.records import RESELLER, SECOND_RESELLER, START, opened

ACCOUNT = "nightly"
HOUR = timedelta(hours=1)
KEY = AccountKey("key-1", ACCOUNT, "RSA_2048", "PEM", START)
PROOF = VerifiedToken(b"token", ACCOUNT, KEY.id, START + HOUR)


@pytest.fixture
async def account(storage: SqlStorage) -> str:
    await storage.administration.add_service_account(ACCOUNT, "Nightly", START, "ann")
    await storage.administration.add_account_key(KEY, "ann")
    return ACCOUNT


async def test_a_proof_gives_the_subject_and_its_roles(storage: SqlStorage, account: str) -> None:
    assert await storage.access.get_proven_subject(PROOF) == Subject(account, {}, key_id="key-1")
    await storage.administration.grant_role(account, RESELLER, Role.EDITOR, START)
    await storage.administration.grant_role(account, RESELLER, Role.VIEWER, START)
    await storage.administration.grant_role(account, SECOND_RESELLER, Role.OWNER, START)
    await storage.administration.grant_role("another", RESELLER, Role.OWNER, START)
    assert await storage.access.get_proven_subject(PROOF) == Subject(
        account,
        {
            RESELLER: frozenset({Role.EDITOR, Role.VIEWER}),
            SECOND_RESELLER: frozenset({Role.OWNER}),
        },
        key_id="key-1",
    )


async def test_proofs_are_judged_one_by_one(storage: SqlStorage, account: str) -> None:
    revoked = replace(PROOF, token_hash=b"revoked")
    await storage.access.revoke_token(revoked)
    proofs = {
        PROOF: account,
        revoked: None,
        replace(PROOF, key_id="key-unknown"): None,
        replace(PROOF, subject_id="another"): None,
        VerifiedToken(b"outside", "auth0|5f7c", None, START): "auth0|5f7c",
        VerifiedToken(b"outside, as ours", account, None, START): None,
        VerifiedToken(b"revoked", "auth0|5f7c", None, START): None,
    }
    found = await asyncio.gather(*(storage.access.get_proven_subject(proof) for proof in proofs))
    assert [subject and subject.id for subject in found] == list(proofs.values())


async def test_revoking_a_token_twice_at_once_revokes_it_alone(
    storage: SqlStorage, other_process: SqlStorage, account: str
) -> None:
    await asyncio.gather(
        *(each.access.revoke_token(PROOF) for each in (storage, other_process) for _ in range(5))
    )
    assert await storage.access.get_proven_subject(PROOF) is None
    second = replace(PROOF, token_hash=b"second")
    assert await other_process.access.get_proven_subject(second) == Subject(
        account, {}, key_id="key-1"
    )


async def test_an_access_token_holds_until_it_expires_or_is_ended(
    storage: SqlStorage, account: str
) -> None:
    await storage.administration.add_access_token(b"for ever", account, START, None)
    await storage.administration.add_access_token(b"an hour", account, START, START + HOUR)
    assert await storage.access.get_subject(b"an hour", START) == Subject(account, {})
    assert await storage.access.get_subject(b"an hour", START + HOUR) is None
    assert await storage.access.get_subject(b"for ever", START + HOUR) == Subject(account, {})
    assert await storage.access.end_access_token(b"for ever", START) == account
    assert await storage.access.get_subject(b"for ever", START) is None
    assert await storage.access.end_access_token(b"for ever", START) == account
    assert await storage.access.end_access_token(b"unknown", START) is None


async def test_removing_an_account_removes_all_it_has(storage: SqlStorage, account: str) -> None:
    await storage.administration.grant_role(account, RESELLER, Role.OWNER, START)
    await storage.administration.add_access_token(b"long-lived", account, START, None)
    assert await storage.administration.remove_service_account(account, START)
    assert not await storage.administration.remove_service_account(account, START)
    assert await storage.access.get_proven_subject(PROOF) is None
    assert await storage.access.get_subject(b"long-lived", START) is None
    assert await storage.access.get_account_key(KEY.id) is None
    assert list(await storage.administration.list_roles()) == []
    await storage.administration.add_service_account(account, "The same ID", START)
    assert await storage.access.get_proven_subject(PROOF) is None


async def test_unknown_accounts_and_resellers_are_refused(storage: SqlStorage) -> None:
    for change in (
        storage.administration.add_account_key(KEY),
        storage.administration.grant_role(ACCOUNT, "no-such-reseller", Role.OWNER, START),
    ):
        with pytest.raises(BillingError) as refused:
            await change
        assert refused.value.reason is Reason.NOT_FOUND
    actions = [record.action for record in await storage.administration.list_audit_records(100)]
    assert set(actions) == {"resellers.add"}


async def test_a_removed_reseller_is_refused_like_an_unknown_one(storage: SqlStorage) -> None:
    operators = storage.administration
    await operators.remove_reseller(RESELLER, START)
    before = await operators.list_audit_records(100)
    for change in (
        operators.set_reseller_contact(RESELLER, "sales@example.com", START),
        operators.set_reseller_details(RESELLER, {"name": "Sales"}, START),
        operators.change_return_origins(RESELLER, "https://shop.example", START, add=True),
        operators.suspend_reseller(RESELLER, START),
        operators.resume_reseller(RESELLER, START),
    ):
        with pytest.raises(BillingError) as refused:
            await change
        assert refused.value.reason is Reason.NOT_FOUND
    assert await operators.list_audit_records(100) == before


async def test_an_outside_subjects_roles_become_no_accounts(storage: SqlStorage) -> None:
    await storage.administration.grant_role("auth0|5f7c", RESELLER, Role.OWNER, START)
    with pytest.raises(BillingError, match=r"auth0.5f7c has roles already") as refused:
        await storage.administration.add_service_account("auth0|5f7c", "Nightly", START)
    assert refused.value.reason is Reason.FIELDS_INVALID
    assert list(await storage.administration.list_service_accounts()) == []
    await storage.administration.revoke_role("auth0|5f7c", RESELLER, Role.OWNER, START)
    await storage.administration.add_service_account("auth0|5f7c", "Nightly", START)
    await storage.administration.grant_role("auth0|5f7c", RESELLER, Role.OWNER, START)
    await storage.administration.add_service_account("auth0|5f7c", "Renamed", START)


async def test_a_refusal_leaves_its_neighbours_alone(storage: SqlStorage, account: str) -> None:
    results = await asyncio.gather(
        *(
            storage.administration.grant_role(account, reseller, Role.OWNER, START)
            for reseller in (RESELLER, "no-such-reseller", SECOND_RESELLER)
        ),
        return_exceptions=True,
    )
    assert [isinstance(result, BillingError) for result in results] == [False, True, False]
    held = await storage.administration.list_roles(subject_id=account)
    assert {binding.reseller_id for binding in held} == {RESELLER, SECOND_RESELLER}


async def test_each_change_is_recorded_once(storage: SqlStorage, account: str) -> None:
    before = len(await storage.administration.list_audit_records(100))
    for second in range(2):  # the second time nothing changes
        at = START + timedelta(seconds=second + 1)
        await storage.administration.add_reseller(RESELLER, "Reseller", at, "bob")
        await storage.administration.add_service_account(account, "Nightly", at, "bob")
        await storage.administration.grant_role(account, RESELLER, Role.OWNER, at, "bob")
    for second in range(2):
        at = START + timedelta(seconds=second + 3)
        await storage.administration.revoke_role(account, RESELLER, Role.OWNER, at, "bob")
        await storage.administration.remove_account_key(KEY.id, at, "bob")
        await storage.administration.remove_reseller(RESELLER, at, "bob")
    found = await storage.administration.list_audit_records(100)
    new = sorted(found[: len(found) - before], key=lambda record: (record.at, record.action))
    first, then = START + timedelta(seconds=1), START + timedelta(seconds=3)
    role = f"{Role.OWNER} for {RESELLER}"
    assert new == [
        AuditRecord(first, "bob", "roles.grant", account, role, os_user()),
        AuditRecord(then, "bob", "keys.remove", KEY.id, f"service account {account}", os_user()),
        AuditRecord(then, "bob", "resellers.remove", RESELLER, "", os_user()),
        AuditRecord(then, "bob", "roles.revoke", account, role, os_user()),
    ]


async def test_a_change_is_told_before_it_is_acknowledged(
    storage: SqlStorage, account: str
) -> None:
    told: list[str] = []
    storage.access.on_access_change(lambda: told.append("changed"))
    await storage.administration.grant_role(account, RESELLER, Role.OWNER, START)
    assert told == ["changed"]
    await storage.access.revoke_token(PROOF)
    assert told == ["changed"] * 2


async def test_other_processes_are_told_by_one_that_closes_at_once(
    storage: SqlStorage, database_url: str, account: str
) -> None:
    told = asyncio.Event()
    storage.access.on_access_change(told.set)
    async with opened(database_url) as command:
        await command.administration.grant_role(account, RESELLER, Role.OWNER, START)
    async with asyncio.timeout(30):
        await told.wait()
