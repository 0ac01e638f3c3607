"""What one process does for a reseller or account while another changes its rights.

Each test decides the order: the first call stops right before its commit, the second one runs until
it waits for a lock of the first (or ends without), and then the first commits. SQLite has one
writer, so the second always waits there.
"""

from datetime import timedelta

from server.domain.access import AccountKey, Role
from server.domain.errors import BillingError, Reason
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql
from tests.storage.overlap import Overlap
from tests.storage.records import LEASE, RESELLER, START, claimed, invited

LATER = START + timedelta(seconds=1)


async def test_a_role_for_a_reseller_that_is_being_removed_is_refused(
    storage: SqlStorage, overlap: Overlap
) -> None:
    outcome = await overlap.run(
        overlap.first.administration.remove_reseller(RESELLER, START),
        overlap.second.administration.grant_role("subject", RESELLER, Role.OWNER, START),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.NOT_FOUND
    assert await storage.administration.list_roles() == []


async def test_a_reseller_is_removed_with_the_role_that_is_being_granted(
    storage: SqlStorage, overlap: Overlap
) -> None:
    outcome = await overlap.run(
        overlap.first.administration.grant_role("subject", RESELLER, Role.OWNER, START),
        overlap.second.administration.remove_reseller(RESELLER, START),
    )
    assert outcome == (True, True, True)
    assert await storage.administration.list_roles() == []


async def test_two_origins_that_are_added_at_once_are_both_listed(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """They are kept in one value, which each reads and then writes."""
    origins = ["https://one.example", "https://two.example"]
    outcome = await overlap.run(
        *(
            each.administration.change_return_origins(RESELLER, origin, START, add=True)
            for each, origin in zip((overlap.first, overlap.second), origins, strict=True)
        )
    )
    assert outcome == (True, True, True)
    reseller, _ = await storage.administration.list_resellers()
    assert reseller.return_origins == origins


@on_postgresql
async def test_a_claim_passes_over_the_e_mails_of_a_reseller_that_is_being_suspended(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await invited(storage)
    outcome = await overlap.run(
        overlap.first.administration.suspend_reseller(RESELLER, START),
        overlap.second.mail.claim_deliveries(10, START, LEASE),
    )
    assert outcome == (True, [], False)


@on_postgresql
async def test_suspending_a_reseller_does_not_wait_for_who_claims_its_e_mails(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """Who claims locks the reseller after: they would wait for each other."""
    given = await invited(storage)
    outcome = await overlap.run(
        overlap.first.mail.claim_deliveries(10, START, LEASE),
        overlap.second.administration.suspend_reseller(RESELLER, START),
    )
    assert not outcome.waited
    (delivery,) = outcome.first
    # It is being sent already; what comes of it counts, and another try is held.
    assert await storage.mail.retry_delivery(delivery, LATER, LATER)
    assert await storage.mail.claim_deliveries(10, LATER, LEASE) == []
    assert await storage.administration.resume_reseller(RESELLER, LATER)
    (delivery,) = await storage.mail.claim_deliveries(10, LATER, LEASE)
    assert delivery.operation_id == given.id


@on_postgresql
async def test_a_claim_holds_nothing_of_a_reseller_that_is_being_resumed(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """It would be held for ever."""
    given = await invited(storage)
    delivery = await claimed(storage)
    await storage.administration.suspend_reseller(RESELLER, START)
    await storage.mail.retry_delivery(delivery, START, START)
    outcome = await overlap.run(
        overlap.first.administration.resume_reseller(RESELLER, START),
        overlap.second.mail.claim_deliveries(10, START, LEASE),
    )
    (delivery,) = outcome.second or await storage.mail.claim_deliveries(10, START, LEASE)
    assert delivery.operation_id == given.id


async def test_a_key_for_an_account_that_is_being_removed_is_refused(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await storage.administration.add_service_account("account", "An account", START)
    outcome = await overlap.run(
        overlap.first.administration.remove_service_account("account", START),
        overlap.second.administration.add_account_key(
            AccountKey("key", "account", "RSA_2048", "", START)
        ),
    )
    assert outcome.waited
    assert outcome.second.reason is Reason.NOT_FOUND
    assert await storage.administration.list_account_keys() == []


async def test_an_account_whose_id_is_being_given_a_role_is_refused(
    storage: SqlStorage, overlap: Overlap
) -> None:
    """It would take the role of the outside issuer's subject."""
    outcome = await overlap.run(
        overlap.first.administration.grant_role("someone", RESELLER, Role.OWNER, START),
        overlap.second.administration.add_service_account("someone", "An account", START),
    )
    assert outcome.waited
    assert isinstance(outcome.second, BillingError)
    assert "has roles already" in outcome.second.message
    assert await storage.administration.list_service_accounts() == []
    assert len(await storage.administration.list_roles("someone")) == 1


async def test_a_role_for_an_account_that_is_being_added_is_granted(
    storage: SqlStorage, overlap: Overlap
) -> None:
    outcome = await overlap.run(
        overlap.first.administration.add_service_account("account", "An account", START),
        overlap.second.administration.grant_role("account", RESELLER, Role.OWNER, START),
    )
    assert (outcome.waited, outcome.second) == (True, True)
    assert [each.id for each in await storage.administration.list_service_accounts()] == ["account"]


async def test_an_account_that_is_being_given_a_role_is_removed_with_it(
    storage: SqlStorage, overlap: Overlap
) -> None:
    await storage.administration.add_service_account("account", "An account", START)
    outcome = await overlap.run(
        overlap.first.administration.grant_role("account", RESELLER, Role.OWNER, START),
        overlap.second.administration.remove_service_account("account", START),
    )
    assert (outcome.waited, outcome.second) == (True, True)
    assert await storage.administration.list_roles("account") == []
