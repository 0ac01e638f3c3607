"""Addresses that nothing is sent to, on SQLite and PostgreSQL."""

import asyncio

import pytest

from server.domain.access import INVITEE, Actor
from server.domain.bounces import BounceReport
from server.domain.errors import Reason
from server.domain.events import EventType
from server.domain.invitations import Invitation, link_token_hash
from server.domain.limits import Limits
from server.domain.mail import DeliveryState
from server.domain.suppressions import SuppressionReason
from server.storage import open_storage
from server.storage.interface import Storage
from server.storage.storage import SqlStorage
from tests.storage.events.reading import logged
from tests.storage.records import (
    ACTOR,
    DAY,
    KEY_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    key,
    new,
    records,
)
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded, refused, sent
from tests.storage.test_bounces import CAME_BACK, NO_MAILBOX, OF_POLICY, token_of
from tests.storage.test_corrections import corrected

pytestmark = pytest.mark.usefixtures("consistent")

OWNER = Actor(INVITEE)
ADDRESS = "someone@example.com"
UNWANTED = BounceReport(came_back=False, is_unwanted=True)


async def bounced(storage: SqlStorage, report: BounceReport = CAME_BACK) -> StoredInvitation:
    stored = await recorded(storage, new(ADDRESS))
    token = token_of(await stored.deliver())
    outcome = await storage.bounces.record_bounce(token, report, START + MINUTE)
    assert outcome.is_recorded
    return stored


async def state(stored: StoredInvitation) -> DeliveryState | None:
    delivery = (await stored.recorded()).delivery
    return delivery.state if delivery else None


async def invites(
    storage: Storage, email: str = ADDRESS, tin: str = "9", reseller_id: str = RESELLER
) -> None:
    made = new(email, tin=tin, reseller_id=reseller_id)
    await storage.invitations.create_invitation(made, None)


async def test_what_bounced_for_good_gets_no_more_from_anybody(storage: SqlStorage) -> None:
    stored = await bounced(storage)
    for refusal in (
        await refused(invites(storage, "Someone@Example.com", reseller_id=SECOND_RESELLER)),
        await refused(invites(storage, tin="1")),
        await refused(stored.resend(START + DAY)),
        await refused(corrected(await sent(storage), "SOMEONE@example.com")),
    ):
        assert refusal.reason is Reason.ADDRESS_SUPPRESSED
        assert refusal.metadata == {"suppression": "BOUNCED"}
    (listed,) = records(await storage.suppressions.list_suppressions(RESELLER, 10, None))
    assert (listed.email, listed.reseller_id, listed.error) == (ADDRESS, RESELLER, NO_MAILBOX)
    assert await storage.suppressions.list_suppressions(SECOND_RESELLER, 10, None) == []
    # Released by whom it did not bounce for: nothing changes.
    release = storage.suppressions.release_suppression
    assert not await release(SECOND_RESELLER, listed.id, START, ACTOR, None)
    await refused(invites(storage, tin="2"))
    for _ in range(2):  # repeated with its key
        assert await release(RESELLER, listed.id, START + DAY, ACTOR, key("release"))
    assert not await release(RESELLER, listed.id, START + DAY, ACTOR, key("another"))
    assert not await release(RESELLER, "sup00000000000000000", START, ACTOR, None)
    assert await storage.suppressions.list_suppressions(RESELLER, 10, None) == []
    await invites(storage, tin="3")
    await stored.resend(START + DAY)


async def test_what_came_back_for_the_senders_sake_is_not_suppressed(storage: SqlStorage) -> None:
    await bounced(storage, OF_POLICY)
    await invites(storage, tin="1")
    assert await storage.suppressions.list_suppressions(RESELLER, 10, None) == []


async def test_lists_are_read_in_pages_newest_first(storage: SqlStorage) -> None:
    emails = [f"user{number}@example.com" for number in range(5)]
    for number, email in enumerate(emails):
        stored = await recorded(storage, new(email))
        token = token_of(await stored.deliver())
        await storage.bounces.record_bounce(token, CAME_BACK, START + number // 2 * MINUTE)
    found: list[str] = []
    after = None
    while page := await storage.suppressions.list_suppressions(RESELLER, 2, after):
        found += [each.email for each in records(page)]
        after = page[-1].cursor
    assert found == emails[::-1]


async def test_an_e_mail_that_went_out_before_another_bounced_still_counts_as_sent(
    storage: SqlStorage,
) -> None:
    earlier = await sent(storage, new(ADDRESS, tin="1"))
    await bounced(storage)
    assert await state(earlier) is DeliveryState.SENT


async def test_what_waits_for_the_address_is_not_sent(storage: SqlStorage) -> None:
    first = await recorded(storage, new(ADDRESS))
    token = token_of(await first.deliver())
    waiting = await recorded(storage, new(ADDRESS, tin="1", reseller_id=SECOND_RESELLER))
    await storage.bounces.record_bounce(token, CAME_BACK, START + MINUTE)
    assert await state(waiting) is DeliveryState.SUPPRESSED
    assert await storage.mail.claim_deliveries(10, START + DAY, LEASE) == []
    failure = (await waiting.operation()).failure
    assert failure
    assert failure.reason is Reason.ADDRESS_SUPPRESSED
    # Though its customer is gone, the address stays suppressed.
    await refused(invites(storage, tin="1"))


async def test_the_owner_wants_no_more_e_mails(storage: SqlStorage) -> None:
    stored = await sent(storage, new(ADDRESS))
    link = link_token_hash(stored.token)
    assert await storage.suppressions.suppression_by_link(link) is None
    for _ in range(2):
        assert await storage.suppressions.suppress_by_link(link, START + DAY, OWNER)
    assert await storage.suppressions.suppression_by_link(link) is SuppressionReason.REQUESTED
    assert await state(stored) is DeliveryState.SUPPRESSED
    event = (await logged(storage))[-1]
    assert (event.type, event.actor) == (EventType.INVITATION_UPDATED, OWNER)
    assert isinstance(event.data, Invitation)
    assert event.data == await stored.recorded()
    refusal = await refused(stored.resend(START + DAY))
    assert refusal.metadata == {"suppression": "REQUESTED"}
    # Nobody else sees or releases it.
    assert await storage.suppressions.list_suppressions(RESELLER, 10, None) == []
    assert await storage.suppressions.release_by_link(link, START + DAY, OWNER)
    assert await state(stored) is DeliveryState.SENT
    await stored.resend(START + DAY)
    unknown = link_token_hash("a" * 32)
    assert not await storage.suppressions.suppress_by_link(unknown, START, OWNER)
    assert not await storage.suppressions.release_by_link(unknown, START, OWNER)
    assert await storage.suppressions.suppression_by_link(unknown) is None


async def test_who_had_the_address_before_decides_about_that_one_alone(
    storage: SqlStorage,
) -> None:
    wrong, right = "wrong@example.com", "right@example.com"
    stored = await recorded(storage, new(wrong))
    first = await stored.deliver()
    await corrected(stored, right)
    again = await claimed(storage, START + DAY)
    await storage.mail.finish_delivery(again, START + DAY)
    theirs, ours = link_token_hash(first.link_token), link_token_hash(again.link_token)
    view = await storage.invitations.look_up_invitation(theirs)
    assert view
    assert (view.replaced, view.invitation.email) == (True, wrong)
    assert await storage.suppressions.suppress_by_link(theirs, START + DAY, OWNER)
    assert await storage.suppressions.suppression_by_link(theirs) is SuppressionReason.REQUESTED
    assert await storage.suppressions.suppression_by_link(ours) is None
    assert await state(stored) is DeliveryState.SENT
    refusal = await refused(invites(storage, wrong))
    assert refusal.metadata == {"suppression": "REQUESTED"}
    # Nor can they take back what its owner wants now.
    assert await storage.suppressions.suppress_by_link(ours, START + DAY, OWNER)
    assert await storage.suppressions.release_by_link(theirs, START + DAY, OWNER)
    assert await storage.suppressions.suppression_by_link(ours) is SuppressionReason.REQUESTED
    assert await state(stored) is DeliveryState.SUPPRESSED
    # A second correction leaves whose the first links were.
    await storage.suppressions.release_by_link(ours, START + DAY, OWNER)
    await corrected(stored, "third@example.com", START + 2 * DAY)
    for link, email in ((theirs, wrong), (ours, right)):
        view = await storage.invitations.look_up_invitation(link)
        assert view
        assert view.invitation.email == email


async def test_what_its_reader_calls_spam_is_the_last(storage: SqlStorage) -> None:
    stored = await recorded(storage, new(ADDRESS))
    token = token_of(await stored.deliver())
    elsewhere = await recorded(storage, new(ADDRESS, tin="1", reseller_id=SECOND_RESELLER))
    reports = [UNWANTED, CAME_BACK, UNWANTED]
    outcomes = await asyncio.gather(
        *(storage.bounces.record_bounce(token, each, START + MINUTE) for each in reports)
    )
    assert [outcome.is_recorded for outcome in outcomes] == [True, False, False]
    assert await state(stored) is await state(elsewhere) is DeliveryState.SUPPRESSED
    event = (await logged(storage))[-1]
    assert (event.type, event.actor) == (EventType.INVITATION_UPDATED, OWNER)
    refusal = await refused(invites(storage, tin="2"))
    assert refusal.metadata == {"suppression": "REQUESTED"}
    # It is the owner's wish: no reseller releases it, and they do by the link.
    assert await storage.suppressions.list_suppressions(RESELLER, 10, None) == []
    link = link_token_hash(stored.token)
    assert await storage.suppressions.release_by_link(link, START + DAY, OWNER)
    await stored.resend(START + DAY)


async def test_spam_reported_at_a_former_address_suppresses_that_one(storage: SqlStorage) -> None:
    stored = await recorded(storage, new("wrong@example.com"))
    token = token_of(await stored.deliver())
    await corrected(stored, ADDRESS)
    assert (await storage.bounces.record_bounce(token, UNWANTED, START + DAY)).is_recorded
    assert (await refused(invites(storage, "wrong@example.com"))).metadata["suppression"]
    await invites(storage, ADDRESS)


async def test_what_the_owner_wants_outweighs_what_bounced(storage: SqlStorage) -> None:
    stored = await bounced(storage)
    (listed,) = records(await storage.suppressions.list_suppressions(RESELLER, 10, None))
    link = link_token_hash(stored.token)
    await storage.suppressions.suppress_by_link(link, START + DAY, OWNER)
    assert await storage.suppressions.list_suppressions(RESELLER, 10, None) == []
    await storage.suppressions.release_suppression(RESELLER, listed.id, START + DAY, ACTOR, None)
    refusal = await refused(invites(storage, tin="1"))
    assert refusal.metadata == {"suppression": "REQUESTED"}


async def test_an_operator_releases_on_the_owners_word(storage: SqlStorage) -> None:
    stored = await sent(storage, new(ADDRESS))
    await storage.suppressions.suppress_by_link(link_token_hash(stored.token), START, OWNER)
    operator = storage.administration
    assert await operator.release_address("SomeOne@example.com", START + DAY, "ann")
    assert not await operator.release_address(ADDRESS, START + DAY, "ann")
    (entry,) = await operator.list_audit_records(1)
    assert (entry.actor, entry.action) == ("ann", "suppressions.release")
    assert ADDRESS not in str(entry)
    await stored.resend(START + DAY)
    assert await claimed(storage, START + DAY)


async def test_a_suppressed_address_is_refused_without_limits_too(
    storage: SqlStorage, database_url: str
) -> None:
    await bounced(storage)
    other = await open_storage(
        database_url,
        idempotency_lifetime=KEY_LIFETIME,
        limits=Limits(mail_per_address_h=0, mail_per_reseller_h=0, mail_per_reseller_d=0),
    )
    try:
        assert (await refused(invites(other, tin="1"))).reason is Reason.ADDRESS_SUPPRESSED
    finally:
        await other.close()
