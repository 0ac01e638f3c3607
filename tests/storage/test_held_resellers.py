"""While a reseller is suspended or removed, what it has under way is held, and nothing is lost."""

import asyncio
from datetime import timedelta

import pytest

from server.domain.access import Permission, ResellerState, Role
from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    InvitationAction,
    InvitationList,
    InvitationState,
    link_token_hash,
)
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.overlap import Overlap
from tests.storage.records import (
    ACTOR,
    DAY,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    invited,
    new,
)
from tests.storage.stored_invitation import (
    LAPSES_AT,
    MINUTE,
    recorded,
    refused,
    sent,
)

LATER = START + MINUTE
HOLDS = ("suspend", "remove")


async def hold(storage: SqlStorage, how: str) -> None:
    if how == "suspend":
        assert await storage.administration.suspend_reseller(RESELLER, START, "bob")
    else:
        assert await storage.administration.remove_reseller(RESELLER, START, "bob")


async def go_on(storage: SqlStorage, how: str) -> None:
    if how == "suspend":
        assert await storage.administration.resume_reseller(RESELLER, LATER, "bob")
    else:
        await storage.administration.add_reseller(RESELLER, "Reseller", LATER, "bob")


def sound(database_url: str) -> bool:
    return not any(each.count for each in check(database_url))


@pytest.mark.parametrize("how", HOLDS)
async def test_no_e_mail_goes_out_and_none_is_lost(
    storage: SqlStorage, database_url: str, how: str
) -> None:
    """What was due, what waits for its next try, a resend, and what came at the last moment."""
    again = await sent(storage)
    resent = await again.resend()
    due = await invited(storage)
    tried = await recorded(storage)
    deliveries = await storage.mail.claim_deliveries(10, LATER, LEASE)
    for each in deliveries:
        await storage.mail.retry_delivery(each, LATER + DAY, LATER)
    other = await storage.invitations.create_invitation(new(reseller_id=SECOND_RESELLER), None)
    await hold(storage, how)
    late = await invited(storage)
    (delivery,) = await storage.mail.claim_deliveries(10, START + 2 * DAY, LEASE)
    assert delivery.operation_id == other.id
    assert await storage.mail.finish_delivery(delivery, LATER)
    assert await storage.mail.claim_deliveries(10, START + 20 * DAY, LEASE) == []
    held = [resent.id, due.id, tried.made.operation.id, late.id]
    assert query(database_url, "SELECT count(*) FROM operations WHERE NOT done") == [(4,)]
    assert query(database_url, "SELECT min(due_at) FROM operations") == [(None,)]
    assert sound(database_url)
    await go_on(storage, how)
    found = await storage.mail.claim_deliveries(10, LATER, LEASE)
    assert {each.operation_id for each in found} == set(held)
    for each in found:
        assert await storage.mail.finish_delivery(each, LATER)
    assert sound(database_url)


@pytest.mark.parametrize("how", HOLDS)
async def test_its_invitations_can_not_be_answered(
    storage: SqlStorage, database_url: str, how: str
) -> None:
    stored = await sent(storage)
    await hold(storage, how)
    view = await storage.invitations.look_up_invitation(link_token_hash(stored.token))
    assert view
    assert view.held
    for action in (InvitationAction.ACCEPT, InvitationAction.DECLINE):
        assert (await refused(stored.answer(action))).reason is Reason.INVITATION_HELD
    assert (await stored.recorded())._replace(delivery=None) == stored.made.invitation
    assert await stored.customer_state() is CustomerState.ACCEPTANCE_REQUIRED
    assert sound(database_url)
    await go_on(storage, how)
    view = await storage.invitations.look_up_invitation(link_token_hash(stored.token))
    assert view
    assert not view.held
    answered = await stored.answer()
    assert answered
    assert answered.state is InvitationState.ACCEPTED


async def test_an_ended_invitation_of_a_held_reseller_says_how_it_ended(
    storage: SqlStorage,
) -> None:
    accepted, lapsed = await sent(storage), await sent(storage)
    answered = await accepted.answer()
    await hold(storage, "suspend")
    assert await accepted.answer() == answered
    assert (await refused(accepted.answer(InvitationAction.DECLINE))).reason is (
        Reason.INVITATION_STATE
    )
    assert await accepted.customer_state() is CustomerState.ACTIVE
    error = await refused(lapsed.answer(now=LAPSES_AT))
    assert (error.reason, error.metadata) == (Reason.INVITATION_STATE, {"state": "EXPIRED"})


async def test_a_held_invitation_expires_and_is_not_sent(
    storage: SqlStorage, database_url: str
) -> None:
    """What lapses while it is held is not sent any more."""
    held = await invited(storage)
    await hold(storage, "suspend")
    assert await storage.retention.expire_invitations(LAPSES_AT, 10) == 1
    assert await storage.administration.resume_reseller(RESELLER, LAPSES_AT)
    assert await storage.mail.claim_deliveries(10, LAPSES_AT, LEASE) == []
    ended = await storage.operations.get_operation(held.id)
    assert ended
    assert ended.failure
    assert (ended.failure.reason, ended.failure.metadata) == (
        Reason.INVITATION_STATE,
        {"state": "EXPIRED"},
    )
    assert sound(database_url)


@pytest.mark.parametrize("end", ["finish", "retry", "lease"])
async def test_an_e_mail_under_way_at_a_suspension_is_not_sent_twice(
    storage: SqlStorage, database_url: str, end: str
) -> None:
    """That one e-mail may arrive; it is not sent a second time."""
    operation = await invited(storage)
    delivery = await claimed(storage)
    await hold(storage, "suspend")
    if end == "finish":
        assert await storage.mail.finish_delivery(delivery, START)
    elif end == "retry":
        assert await storage.mail.retry_delivery(delivery, LATER, START)
    assert await storage.mail.claim_deliveries(10, START + DAY, LEASE) == []
    assert sound(database_url)
    assert await storage.administration.resume_reseller(RESELLER, START + DAY)
    again = await storage.mail.claim_deliveries(10, START + DAY, LEASE)
    assert [each.operation_id for each in again] == [] if end == "finish" else [operation.id]


async def test_what_was_to_be_cancelled_ends_all_the_same(
    storage: SqlStorage, database_url: str
) -> None:
    operation = await invited(storage)
    await claimed(storage)
    await storage.operations.cancel_operation(operation.id, START, ACTOR, None)
    await hold(storage, "suspend")
    assert await storage.mail.claim_deliveries(10, START + DAY, LEASE) == []
    ended = await storage.operations.get_operation(operation.id)
    assert ended
    assert ended.failure
    assert ended.failure.reason is Reason.OPERATION_CANCELLED
    assert sound(database_url)


async def test_nobody_waits_for_what_is_held(storage: SqlStorage) -> None:
    await invited(storage)
    await hold(storage, "suspend")
    waiting = asyncio.create_task(storage.mail.wait_for_work(START + DAY, timedelta(days=1)))
    # A look at the database does not end it: it ends with the resumption.
    assert (
        await storage.invitations.list_invitations(InvitationList(RESELLER), START, 1, None)
    ).rows
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await storage.administration.resume_reseller(RESELLER, START)
    async with asyncio.timeout(10):
        await waiting


async def test_its_callers_are_told_why(storage: SqlStorage) -> None:
    for reseller_id in (RESELLER, SECOND_RESELLER):
        await storage.administration.grant_role("s", reseller_id, Role.EDITOR, START)
    await storage.administration.grant_role("only", RESELLER, Role.VIEWER, START)
    for who in ("s", "only"):
        await storage.administration.add_access_token(who.encode(), who, START, None)
    for how, state, reason in (
        ("suspend", ResellerState.SUSPENDED, Reason.RESELLER_SUSPENDED),
        ("remove", ResellerState.REMOVED, Reason.RESELLER_REMOVED),
    ):
        await hold(storage, how)
        both, only = [await storage.access.get_subject(who, START) for who in (b"s", b"only")]
        assert both
        assert only
        assert both.held == only.held == {RESELLER: state}
        with pytest.raises(BillingError) as refusal:
            both.require(Permission.READ, RESELLER)
        assert refusal.value.reason is reason
        assert both.resellers(Permission.WRITE) == [SECOND_RESELLER]
        with pytest.raises(BillingError) as refusal:
            only.resellers(Permission.READ)
        assert refusal.value.reason is reason
        with pytest.raises(BillingError) as refusal:
            only.require(Permission.WRITE, RESELLER)
        assert refusal.value.reason is Reason.PERMISSION_MISSING
    # Whoever adds it again gives roles anew; it is still suspended.
    await storage.administration.add_reseller(RESELLER, "Reseller", START)
    both = await storage.access.get_subject(b"s", START)
    assert both
    assert list(both.roles) == [SECOND_RESELLER]
    assert {each.id: each.state for each in await storage.administration.list_resellers()} == {
        RESELLER: ResellerState.SUSPENDED,
        SECOND_RESELLER: ResellerState.ACTIVE,
    }


async def test_suspending_and_resuming_fit_the_resellers_state(storage: SqlStorage) -> None:
    assert not await storage.administration.resume_reseller(RESELLER, START)
    await hold(storage, "suspend")
    assert not await storage.administration.suspend_reseller(RESELLER, START)
    await hold(storage, "remove")
    for call in (storage.administration.suspend_reseller, storage.administration.resume_reseller):
        for reseller_id in (RESELLER, "unknown"):
            assert (await refused(call(reseller_id, START))).reason is Reason.NOT_FOUND
    actions = [each.action for each in await storage.administration.list_audit_records(10)]
    assert sorted(actions) == [*2 * ["resellers.add"], "resellers.remove", "resellers.suspend"]


class TestOverlaps:
    async def test_a_claim_sees_the_suspension_that_is_not_yet_committed(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        """It passes over what is being held; on SQLite it waits."""
        await invited(storage)
        outcome = await overlap.run(
            overlap.first.administration.suspend_reseller(RESELLER, START),
            overlap.second.mail.claim_deliveries(10, START, LEASE),
        )
        assert outcome.first is True
        assert outcome.second == []
        assert await storage.mail.claim_deliveries(10, START, LEASE) == []

    async def test_a_suspension_does_not_wait_for_a_claim(
        self, storage: SqlStorage, overlap: Overlap
    ) -> None:
        await invited(storage)
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, START, LEASE),
            overlap.second.administration.suspend_reseller(RESELLER, START),
        )
        (delivery,) = outcome.first
        assert outcome.second is True
        assert await storage.mail.retry_delivery(delivery, START, START)
        assert await storage.mail.claim_deliveries(10, START, LEASE) == []

    async def test_a_claim_that_would_hold_sees_the_resumption_that_it_waited_for(
        self, storage: SqlStorage, overlap: Overlap, database_url: str
    ) -> None:
        await hold(storage, "suspend")
        operation = await invited(storage)
        outcome = await overlap.run(
            overlap.first.administration.resume_reseller(RESELLER, START),
            overlap.second.mail.claim_deliveries(10, START, LEASE),
        )
        assert outcome.waited
        found = outcome.second or await storage.mail.claim_deliveries(10, START, LEASE)
        assert [each.operation_id for each in found] == [operation.id]
        assert sound(database_url)

    async def test_a_resumption_sees_what_a_claim_has_just_held(
        self, storage: SqlStorage, overlap: Overlap, database_url: str
    ) -> None:
        await hold(storage, "suspend")
        operation = await invited(storage)
        outcome = await overlap.run(
            overlap.first.mail.claim_deliveries(10, START, LEASE),
            overlap.second.administration.resume_reseller(RESELLER, START),
        )
        assert outcome.waited
        assert outcome.first == []
        (delivery,) = await storage.mail.claim_deliveries(10, START, LEASE)
        assert delivery.operation_id == operation.id
        assert sound(database_url)

    async def test_of_an_answer_and_a_suspension_either_counts_as_the_first(
        self, storage: SqlStorage, overlap: Overlap, database_url: str
    ) -> None:
        """Either counts as the first."""
        stored = await sent(storage)
        outcome = await overlap.run(
            overlap.first.administration.suspend_reseller(RESELLER, START),
            stored.seen_by(overlap.second).answer(),
        )
        assert outcome.first is True
        state = (await stored.recorded()).state
        if isinstance(outcome.second, BillingError):
            assert outcome.second.reason is Reason.INVITATION_HELD
            assert state is InvitationState.PENDING
        else:
            assert state is InvitationState.ACCEPTED
        assert sound(database_url)
