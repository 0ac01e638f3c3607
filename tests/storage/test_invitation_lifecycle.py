"""What happens to invitations after they were made, on SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest

from server.domain.customers import CustomerState
from server.domain.errors import Reason
from server.domain.invitations import (
    InvitationAction,
    InvitationState,
    InvitationView,
    as_of,
    link_token_hash,
)
from server.domain.mail import DeliveryState, EmailDelivery
from server.domain.operations import OperationKind
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    REFUSED,
    START,
    key,
    new,
)
from tests.storage.stored_invitation import (
    LAPSES_AT,
    MINUTE,
    recorded,
    refused,
    sent,
)

ACCEPT, DECLINE = InvitationAction.ACCEPT, InvitationAction.DECLINE


async def test_a_link_leads_to_its_invitation(storage: SqlStorage) -> None:
    stored = await sent(storage)
    await sent(storage)
    view = await storage.invitations.look_up_invitation(link_token_hash(stored.token))
    assert view
    now = stored.made.invitation._replace(
        delivery=EmailDelivery(DeliveryState.SENT, 1, sent_at=START)
    )
    assert view == InvitationView(now, "Reseller", stored.made.customer.name)
    assert await stored.recorded() == now
    assert await storage.invitations.look_up_invitation(link_token_hash("a" * 32)) is None
    assert await storage.invitations.get_invitation("inv00000000000000000") is None


@pytest.mark.parametrize(
    ("action", "state", "customer_state"),
    [
        (ACCEPT, InvitationState.ACCEPTED, CustomerState.ACTIVE),
        (DECLINE, InvitationState.DECLINED, CustomerState.INACTIVE),
    ],
)
async def test_the_first_answer_to_an_invitation_counts(
    storage: SqlStorage,
    action: InvitationAction,
    state: InvitationState,
    customer_state: CustomerState,
) -> None:
    stored = await sent(storage)
    answered = await stored.answer(action)
    assert answered
    assert (answered.state, answered.ended_at) == (state, START + MINUTE)
    recorded = await stored.recorded()
    assert (recorded.state, recorded.ended_at) == (state, START + MINUTE)
    assert await stored.customer_state() is customer_state
    customer = await storage.customers.get_customer(stored.made.customer.id)
    assert customer
    assert customer.modified_at == START + MINUTE
    # The same once more is what it was; anything else is refused, and changes nothing.
    assert await stored.answer(action, START + DAY) == answered
    other = DECLINE if action is ACCEPT else ACCEPT
    for call in (stored.answer(other), stored.revoke(), stored.resend()):
        error = await refused(call)
        assert error.reason is Reason.INVITATION_STATE
        assert error.metadata == {"state": state.name}
    assert await stored.recorded() == recorded
    assert await stored.customer_state() is customer_state


async def test_a_revoked_invitation_can_not_be_answered_or_resent(storage: SqlStorage) -> None:
    stored = await sent(storage)
    revoked = await stored.revoke()
    assert revoked == await stored.recorded()
    assert (revoked.state, revoked.ended_at) == (InvitationState.REVOKED, START + MINUTE)
    assert await stored.customer_state() is CustomerState.INACTIVE
    assert await stored.revoke(START + DAY) == revoked
    for call in (stored.answer(ACCEPT), stored.answer(DECLINE), stored.resend()):
        assert (await refused(call)).metadata == {"state": "REVOKED"}
    assert (
        await storage.invitations.revoke_invitation("inv00000000000000000", START, ACTOR, None)
        is None
    )
    # It is not in the way of a new one.
    await recorded(storage, new(stored.made.invitation.email))


async def test_a_lapsed_one_is_refused_before_it_is_recorded_so(storage: SqlStorage) -> None:
    stored = await sent(storage)
    just_before = LAPSES_AT - timedelta(microseconds=1)
    for call in (
        stored.answer(ACCEPT, LAPSES_AT),
        stored.answer(DECLINE, LAPSES_AT),
        stored.revoke(LAPSES_AT),
        stored.resend(LAPSES_AT),
    ):
        assert (await refused(call)).metadata == {"state": "EXPIRED"}
    assert await storage.retention.expire_invitations(just_before, 100) == 0
    answered = await stored.answer(ACCEPT, just_before)
    assert answered
    assert answered.state is InvitationState.ACCEPTED
    assert await storage.retention.expire_invitations(LAPSES_AT + DAY, 100) == 0
    assert await stored.customer_state() is CustomerState.ACTIVE


async def test_what_has_lapsed_expires_in_pieces(storage: SqlStorage) -> None:
    several = [await sent(storage) for _ in range(5)]
    later = await sent(storage, new(now=START + DAY))
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 3
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 2
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 0
    for stored in several:
        found = await stored.recorded()
        assert (found.state, found.ended_at) == (InvitationState.EXPIRED, LAPSES_AT)
        await recorded(storage, new(stored.made.invitation.email, now=LAPSES_AT))  # makes room
        assert await stored.customer_state() is CustomerState.INACTIVE
    assert (await later.recorded()).state is InvitationState.PENDING
    assert await later.customer_state() is CustomerState.ACCEPTANCE_REQUIRED


async def test_a_new_one_records_that_the_one_before_has_expired(storage: SqlStorage) -> None:
    first = await sent(storage, new("a@example.com"))
    await storage.invitations.create_invitation(new("A@example.com", now=LAPSES_AT), None)
    found = await first.recorded()
    assert (found.state, found.ended_at) == (InvitationState.EXPIRED, LAPSES_AT)
    assert await first.customer_state() is CustomerState.INACTIVE


async def test_sending_again_replaces_the_link_and_the_expiry(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await sent(storage)
    first = stored.token
    operation = await stored.resend()
    assert operation.kind is OperationKind.RESEND
    assert not operation.done
    # The old link is dead at once, before there is a new one.
    old = await storage.invitations.look_up_invitation(link_token_hash(first))
    assert old
    assert old.replaced
    assert await stored.answer(token=first) is None
    delivery = await stored.deliver(START + MINUTE)
    assert delivery.operation_id == operation.id
    assert delivery.first_operation_id == stored.made.operation.id
    assert delivery.expires_at == START + MINUTE + INVITATION_LIFETIME
    ended = await stored.operation(operation.id)
    assert (ended.done, ended.failure) == (True, None)
    found = await stored.recorded()
    assert found.resent_at == START + MINUTE
    assert found.expires_at == START + MINUTE + INVITATION_LIFETIME
    assert found.state is InvitationState.PENDING
    assert await stored.answer(token=first) is None
    answered = await stored.answer(now=LAPSES_AT)  # its time has begun anew
    assert answered
    assert answered.state is InvitationState.ACCEPTED
    assert first.encode() not in str(query(database_url, "SELECT * FROM link_tokens")).encode()


async def test_a_resend_right_after_the_last_e_mail_is_refused(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    # The first e-mail is on its way.
    error = await refused(stored.resend(START))
    assert (error.reason, error.retry_after_s) == (Reason.MAIL_UNDER_WAY, 1.0)
    await stored.deliver()
    await stored.resend(START)
    await stored.deliver()
    error = await refused(stored.resend(START + timedelta(seconds=20)))
    assert (error.reason, error.retry_after_s) == (Reason.RESENT_TOO_SOON, 40.0)
    await stored.resend(START + MINUTE)
    error = await refused(stored.resend(START + 2 * MINUTE))
    assert (error.reason, error.retry_after_s) == (Reason.MAIL_UNDER_WAY, 1.0)


async def test_a_resend_that_fails_takes_nothing_back(storage: SqlStorage) -> None:
    stored = await sent(storage)
    failed = await stored.resend()
    assert await storage.mail.fail_delivery(
        await stored.claim(START + MINUTE), REFUSED, START + MINUTE
    )
    assert (await stored.operation(failed.id)).failure == REFUSED
    cancelled = await stored.resend(START + 2 * MINUTE)
    ended = await storage.operations.cancel_operation(cancelled.id, START + 2 * MINUTE, ACTOR, None)
    assert ended
    assert ended.failure
    assert ended.failure.reason is Reason.OPERATION_CANCELLED
    assert await storage.mail.claim_deliveries(10, START + DAY, LEASE) == []
    assert (await stored.recorded()).state is InvitationState.PENDING
    assert await stored.customer_state() is CustomerState.ACCEPTANCE_REQUIRED
    await stored.resend(START + 3 * MINUTE)
    await stored.deliver(START + 3 * MINUTE)
    assert await stored.answer()


@pytest.mark.parametrize("end", ["fail", "cancel", "claim"])
async def test_what_was_answered_had_arrived(storage: SqlStorage, end: str) -> None:
    """The e-mail got there, but the worker could not record it."""
    stored = await recorded(storage)
    delivery = await stored.claim()
    if end == "claim":
        assert await storage.mail.retry_delivery(delivery, START + DAY, START)
    assert await stored.answer()
    match end:
        case "fail":
            assert await storage.mail.fail_delivery(delivery, REFUSED, START + MINUTE)
        case "cancel":
            await storage.operations.cancel_operation(
                stored.made.operation.id, START + 2 * LEASE, ACTOR, None
            )
        case "claim":  # at once, not a day later
            assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    ended = await stored.operation()
    assert (ended.done, ended.failure) == (True, None)
    assert (await stored.recorded()).state is InvitationState.ACCEPTED
    assert await stored.customer_state() is CustomerState.ACTIVE


async def test_what_was_revoked_is_not_sent(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    await stored.revoke()
    assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    failure = (await stored.operation()).failure
    assert failure
    assert (failure.reason, failure.metadata) == (Reason.INVITATION_STATE, {"state": "REVOKED"})
    assert (await stored.recorded()).state is InvitationState.REVOKED
    assert await stored.customer_state() is CustomerState.INACTIVE


async def test_a_revoked_one_survives_the_failure_of_its_e_mail(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    await stored.revoke()
    assert await storage.mail.fail_delivery(delivery, REFUSED, START + MINUTE)
    assert (await stored.operation()).failure == REFUSED
    assert (await stored.recorded()).state is InvitationState.REVOKED


async def test_one_revoked_while_its_e_mail_is_tried_ends_with_that_try(
    storage: SqlStorage,
) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    await stored.revoke()
    assert await storage.mail.retry_delivery(delivery, START + DAY, START + MINUTE)
    assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    failure = (await stored.operation()).failure
    assert failure
    assert failure.reason is Reason.INVITATION_STATE


async def test_a_revocation_wakes_the_workers(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    await storage.mail.retry_delivery(delivery, START + DAY, START)
    waiting = asyncio.create_task(storage.mail.wait_for_work(START, DAY))
    await asyncio.sleep(0)
    await stored.revoke(START)
    async with asyncio.timeout(10):
        await waiting


async def test_a_repeat_with_the_same_key_gives_the_same_result(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await sent(storage)
    resent = await stored.resend(use=key("resend"))
    # Too soon for another, but this is the same one.
    assert await stored.resend(use=key("resend")) == resent
    await stored.deliver(START + MINUTE)
    assert (await stored.resend(use=key("resend"))).done
    accepted = await stored.answer(use=key("accept"))
    assert await stored.answer(use=key("accept")) == accepted
    revoked = await (await sent(storage)).revoke(use=key("revoke"))
    assert revoked
    for call in (
        stored.resend(use=key("resend", "another")),
        stored.answer(use=key("accept", "another")),
        stored.revoke(use=key("revoke", "another")),
    ):
        assert (await refused(call)).reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert (
        await storage.invitations.revoke_invitation(revoked.id, START + DAY, ACTOR, key("revoke"))
        == revoked
    )
    # A refused call leaves its key free.
    assert (await refused(stored.revoke(use=key("free")))).reason is Reason.INVITATION_STATE
    assert await (await sent(storage)).revoke(use=key("free", "another"))
    keyed = query(database_url, "SELECT id FROM operations WHERE key IS NOT NULL")
    assert keyed == [(resent.id,)]
    assert query(database_url, "SELECT DISTINCT target_kind FROM idempotency_keys") == [(2,)]


async def test_each_of_many_actions_in_one_batch_changes_its_invitation(
    storage: SqlStorage,
) -> None:
    several = [await recorded(storage) for _ in range(100)]
    deliveries = await storage.mail.claim_deliveries(1000, START, LEASE)
    await asyncio.gather(*(storage.mail.finish_delivery(each, START) for each in deliveries))
    tokens = {each.invitation_id: each.link_token for each in deliveries}
    for stored in several:
        stored.token = tokens[stored.made.invitation.id]
    outcomes = await asyncio.gather(
        *(
            stored.revoke() if number % 2 else stored.answer()
            for number, stored in enumerate(several)
        )
    )
    for number, (stored, outcome) in enumerate(zip(several, outcomes, strict=True)):
        wanted = InvitationState.REVOKED if number % 2 else InvitationState.ACCEPTED
        assert outcome
        assert (outcome.id, outcome.state) == (stored.made.invitation.id, wanted)
        assert as_of(await stored.recorded(), LAPSES_AT).state is wanted
