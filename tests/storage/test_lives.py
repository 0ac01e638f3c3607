"""What happens to invitations after they were made, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from server.domain.customers import CustomerState
from server.domain.errors import BillingError, Reason
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    InvitationView,
    NewInvitation,
    as_of,
    link_token_hash,
    resend,
)
from server.domain.operations import Failure, Operation, OperationKind
from server.storage.interface import Delivery, IdempotencyKey
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import DAY, INVITATION_LIFETIME, LEASE, START, key, latest_operation, new

ACCEPT, DECLINE = InvitationAction.ACCEPT, InvitationAction.DECLINE
MINUTE = timedelta(minutes=1)
REFUSED = Failure(Reason.RECIPIENT_REFUSED, "Refused.", {})
LAPSES_AT = START + INVITATION_LIFETIME


@dataclass
class Life:
    """One invitation in a storage, and what happens to it."""

    storage: SqlStorage
    made: NewInvitation
    token: str = ""

    async def deliver(self, now: datetime = START) -> Delivery:
        """Sends the e-mail that is due; the link in it is then the latest."""
        delivery = await self.claim(now)
        assert await self.storage.mail.finish_delivery(delivery, now)
        return delivery

    async def claim(self, now: datetime = START) -> Delivery:
        deliveries = await self.storage.mail.claim_deliveries(1000, now, LEASE)
        (own,) = [each for each in deliveries if each.invitation_id == self.made.invitation.id]
        self.token = own.link_token
        return own

    async def answer(
        self,
        action: InvitationAction = ACCEPT,
        now: datetime = START + MINUTE,
        token: str | None = None,
        use: IdempotencyKey | None = None,
    ) -> Invitation | None:
        secret = link_token_hash(token or self.token)
        return await self.storage.invitations.answer_invitation(secret, action, now, use)

    async def revoke(
        self, now: datetime = START + MINUTE, use: IdempotencyKey | None = None
    ) -> Invitation | None:
        return await self.storage.invitations.revoke_invitation(self.made.invitation.id, now, use)

    async def resend(
        self,
        now: datetime = START + MINUTE,
        interval: timedelta = MINUTE,
        use: IdempotencyKey | None = None,
    ) -> Operation:
        operation = resend(self.made.customer, resent_by="s", now=now)
        id_, until = self.made.invitation.id, now + INVITATION_LIFETIME
        found = await self.storage.invitations.resend_invitation(
            id_, operation, until, interval, use
        )
        assert found
        return found

    async def recorded(self) -> Invitation:
        found = await self.storage.invitations.get_invitation(self.made.invitation.id)
        assert found
        return found

    async def latest(self) -> str:
        """Returns the ID of the operation that sent its latest e-mail, or is to send it."""
        return await latest_operation(self.storage, self.made.invitation.id)

    async def customer_state(self) -> CustomerState:
        found = await self.storage.customers.get_customer(self.made.customer.id)
        assert found
        return found.state

    async def operation(self, id_: str | None = None) -> Operation:
        found = await self.storage.operations.get_operation(id_ or self.made.operation.id)
        assert found
        return found


async def recorded(storage: SqlStorage, made: NewInvitation | None = None) -> Life:
    made = made or new()
    await storage.invitations.create_invitation(made, None)
    return Life(storage, made)


async def sent(storage: SqlStorage, made: NewInvitation | None = None) -> Life:
    life = await recorded(storage, made)
    await life.deliver(life.made.invitation.created_at)
    return life


async def refused(call: object) -> BillingError:
    with pytest.raises(BillingError) as found:
        await call  # type: ignore[misc]
    return found.value


async def test_a_link_leads_to_its_invitation(storage: SqlStorage) -> None:
    life = await sent(storage)
    await sent(storage)
    view = await storage.invitations.look_up_invitation(link_token_hash(life.token))
    assert view
    assert view == InvitationView(life.made.invitation, "Reseller", life.made.customer.name)
    assert await life.recorded() == life.made.invitation
    assert await storage.invitations.look_up_invitation(link_token_hash("a" * 32)) is None
    assert await storage.invitations.get_invitation("inv00000000000000000") is None


@pytest.mark.parametrize(
    ("action", "state", "customer_state"),
    [
        (ACCEPT, InvitationState.ACCEPTED, CustomerState.ACTIVE),
        (DECLINE, InvitationState.DECLINED, CustomerState.INACTIVE),
    ],
)
async def test_an_answer_counts_once(
    storage: SqlStorage,
    action: InvitationAction,
    state: InvitationState,
    customer_state: CustomerState,
) -> None:
    life = await sent(storage)
    answered = await life.answer(action)
    assert answered
    assert (answered.state, answered.ended_at) == (state, START + MINUTE)
    recorded = await life.recorded()
    assert (recorded.state, recorded.ended_at) == (state, START + MINUTE)
    assert await life.customer_state() is customer_state
    customer = await storage.customers.get_customer(life.made.customer.id)
    assert customer
    assert customer.modified_at == START + MINUTE
    # The same once more is what it was; anything else is refused, and changes nothing.
    assert await life.answer(action, START + DAY) == answered
    other = DECLINE if action is ACCEPT else ACCEPT
    for call in (life.answer(other), life.revoke(), life.resend()):
        error = await refused(call)
        assert error.reason is Reason.INVITATION_STATE
        assert error.metadata == {"state": state.name}
    assert await life.recorded() == recorded
    assert await life.customer_state() is customer_state


async def test_revoking(storage: SqlStorage) -> None:
    life = await sent(storage)
    revoked = await life.revoke()
    assert revoked == await life.recorded()
    assert (revoked.state, revoked.ended_at) == (InvitationState.REVOKED, START + MINUTE)
    assert await life.customer_state() is CustomerState.INACTIVE
    assert await life.revoke(START + DAY) == revoked
    for call in (life.answer(ACCEPT), life.answer(DECLINE), life.resend()):
        assert (await refused(call)).metadata == {"state": "REVOKED"}
    assert await storage.invitations.revoke_invitation("inv00000000000000000", START, None) is None
    # It is not in the way of a new one.
    await recorded(storage, new(life.made.invitation.email))


async def test_a_lapsed_one_is_refused_before_it_is_recorded_so(storage: SqlStorage) -> None:
    life = await sent(storage)
    just_before = LAPSES_AT - timedelta(microseconds=1)
    for call in (
        life.answer(ACCEPT, LAPSES_AT),
        life.answer(DECLINE, LAPSES_AT),
        life.revoke(LAPSES_AT),
        life.resend(LAPSES_AT),
    ):
        assert (await refused(call)).metadata == {"state": "EXPIRED"}
    assert await storage.retention.expire_invitations(just_before, 100) == 0
    answered = await life.answer(ACCEPT, just_before)
    assert answered
    assert answered.state is InvitationState.ACCEPTED
    assert await storage.retention.expire_invitations(LAPSES_AT + DAY, 100) == 0
    assert await life.customer_state() is CustomerState.ACTIVE


async def test_what_has_lapsed_expires_in_pieces(storage: SqlStorage) -> None:
    lives = [await sent(storage) for _ in range(5)]
    later = await sent(storage, new(now=START + DAY))
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 3
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 2
    assert await storage.retention.expire_invitations(LAPSES_AT, 3) == 0
    for life in lives:
        found = await life.recorded()
        assert (found.state, found.ended_at) == (InvitationState.EXPIRED, LAPSES_AT)
        await recorded(storage, new(life.made.invitation.email, now=LAPSES_AT))  # makes room
        assert await life.customer_state() is CustomerState.INACTIVE
    assert (await later.recorded()).state is InvitationState.PENDING
    assert await later.customer_state() is CustomerState.ACCEPTANCE_REQUIRED


async def test_a_new_one_records_that_the_one_before_has_expired(storage: SqlStorage) -> None:
    first = await sent(storage, new("a@example.com"))
    await storage.invitations.create_invitation(new("A@example.com", now=LAPSES_AT), None)
    found = await first.recorded()
    assert (found.state, found.ended_at) == (InvitationState.EXPIRED, LAPSES_AT)
    assert await first.customer_state() is CustomerState.INACTIVE


async def test_sending_again(storage: SqlStorage, database_url: str) -> None:
    life = await sent(storage)
    first = life.token
    operation = await life.resend()
    assert operation.kind is OperationKind.RESEND
    assert not operation.done
    # The old link is dead at once, before there is a new one.
    old = await storage.invitations.look_up_invitation(link_token_hash(first))
    assert old
    assert old.replaced
    assert await life.answer(token=first) is None
    delivery = await life.deliver(START + MINUTE)
    assert delivery.operation_id == operation.id
    assert delivery.first_operation_id == life.made.operation.id
    assert delivery.expires_at == START + MINUTE + INVITATION_LIFETIME
    ended = await life.operation(operation.id)
    assert (ended.done, ended.failure) == (True, None)
    found = await life.recorded()
    assert found.resent_at == START + MINUTE
    assert found.expires_at == START + MINUTE + INVITATION_LIFETIME
    assert found.state is InvitationState.PENDING
    assert await life.answer(token=first) is None
    answered = await life.answer(now=LAPSES_AT)  # its time has begun anew
    assert answered
    assert answered.state is InvitationState.ACCEPTED
    assert first.encode() not in str(query(database_url, "SELECT * FROM link_tokens")).encode()


async def test_at_most_so_often(storage: SqlStorage) -> None:
    life = await recorded(storage)
    # The first e-mail is on its way.
    error = await refused(life.resend(START))
    assert (error.reason, error.retry_after_s) == (Reason.RESENT_TOO_SOON, 1.0)
    await life.deliver()
    await life.resend(START)
    await life.deliver()
    error = await refused(life.resend(START + timedelta(seconds=20)))
    assert (error.reason, error.retry_after_s) == (Reason.RESENT_TOO_SOON, 40.0)
    await life.resend(START + MINUTE)
    error = await refused(life.resend(START + 2 * MINUTE))
    assert (error.reason, error.retry_after_s) == (Reason.RESENT_TOO_SOON, 1.0)


async def test_a_resend_that_fails_takes_nothing_back(storage: SqlStorage) -> None:
    life = await sent(storage)
    failed = await life.resend()
    assert await storage.mail.fail_delivery(
        await life.claim(START + MINUTE), REFUSED, START + MINUTE
    )
    assert (await life.operation(failed.id)).failure == REFUSED
    cancelled = await life.resend(START + 2 * MINUTE)
    ended = await storage.operations.cancel_operation(cancelled.id, START + 2 * MINUTE, None)
    assert ended
    assert ended.failure
    assert ended.failure.reason is Reason.OPERATION_CANCELLED
    assert await storage.mail.claim_deliveries(10, START + DAY, LEASE) == []
    assert (await life.recorded()).state is InvitationState.PENDING
    assert await life.customer_state() is CustomerState.ACCEPTANCE_REQUIRED
    await life.resend(START + 3 * MINUTE)
    await life.deliver(START + 3 * MINUTE)
    assert await life.answer()


@pytest.mark.parametrize("end", ["fail", "cancel", "claim"])
async def test_what_was_answered_had_arrived(storage: SqlStorage, end: str) -> None:
    """The e-mail got there, but the worker could not record it."""
    life = await recorded(storage)
    delivery = await life.claim()
    if end == "claim":
        assert await storage.mail.retry_delivery(delivery, START + DAY, START)
    assert await life.answer()
    match end:
        case "fail":
            assert await storage.mail.fail_delivery(delivery, REFUSED, START + MINUTE)
        case "cancel":
            await storage.operations.cancel_operation(
                life.made.operation.id, START + 2 * LEASE, None
            )
        case "claim":  # at once, not a day later
            assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    ended = await life.operation()
    assert (ended.done, ended.failure) == (True, None)
    assert (await life.recorded()).state is InvitationState.ACCEPTED
    assert await life.customer_state() is CustomerState.ACTIVE


async def test_what_was_revoked_is_not_sent(storage: SqlStorage) -> None:
    life = await recorded(storage)
    await life.revoke()
    assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    failure = (await life.operation()).failure
    assert failure
    assert (failure.reason, failure.metadata) == (Reason.INVITATION_STATE, {"state": "REVOKED"})
    assert (await life.recorded()).state is InvitationState.REVOKED
    assert await life.customer_state() is CustomerState.INACTIVE


async def test_a_revoked_one_survives_the_failure_of_its_e_mail(storage: SqlStorage) -> None:
    life = await recorded(storage)
    delivery = await life.claim()
    await life.revoke()
    assert await storage.mail.fail_delivery(delivery, REFUSED, START + MINUTE)
    assert (await life.operation()).failure == REFUSED
    assert (await life.recorded()).state is InvitationState.REVOKED


async def test_one_revoked_while_its_e_mail_is_tried_ends_with_that_try(
    storage: SqlStorage,
) -> None:
    life = await recorded(storage)
    delivery = await life.claim()
    await life.revoke()
    assert await storage.mail.retry_delivery(delivery, START + DAY, START + MINUTE)
    assert await storage.mail.claim_deliveries(10, START + MINUTE, LEASE) == []
    failure = (await life.operation()).failure
    assert failure
    assert failure.reason is Reason.INVITATION_STATE


async def test_a_revocation_wakes_the_workers(storage: SqlStorage) -> None:
    life = await recorded(storage)
    delivery = await life.claim()
    await storage.mail.retry_delivery(delivery, START + DAY, START)
    waiting = asyncio.create_task(storage.mail.wait_for_work(START, DAY))
    await asyncio.sleep(0)
    await life.revoke(START)
    async with asyncio.timeout(10):
        await waiting


async def test_keys(storage: SqlStorage, database_url: str) -> None:
    life = await sent(storage)
    resent = await life.resend(use=key("resend"))
    # Too soon for another, but this is the same one.
    assert await life.resend(use=key("resend")) == resent
    await life.deliver(START + MINUTE)
    assert (await life.resend(use=key("resend"))).done
    accepted = await life.answer(use=key("accept"))
    assert await life.answer(use=key("accept")) == accepted
    revoked = await (await sent(storage)).revoke(use=key("revoke"))
    assert revoked
    for call in (
        life.resend(use=key("resend", "another")),
        life.answer(use=key("accept", "another")),
        life.revoke(use=key("revoke", "another")),
    ):
        assert (await refused(call)).reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert (
        await storage.invitations.revoke_invitation(revoked.id, START + DAY, key("revoke"))
        == revoked
    )
    # A refused call leaves its key free.
    assert (await refused(life.revoke(use=key("free")))).reason is Reason.INVITATION_STATE
    assert await (await sent(storage)).revoke(use=key("free", "another"))
    keyed = query(database_url, "SELECT id FROM operations WHERE key IS NOT NULL")
    assert keyed == [(resent.id,)]
    assert query(database_url, "SELECT DISTINCT target_kind FROM idempotency_keys") == [(2,)]


async def test_many_at_once_in_one_batch(storage: SqlStorage) -> None:
    lives = [await recorded(storage) for _ in range(100)]
    deliveries = await storage.mail.claim_deliveries(1000, START, LEASE)
    await asyncio.gather(*(storage.mail.finish_delivery(each, START) for each in deliveries))
    tokens = {each.invitation_id: each.link_token for each in deliveries}
    for life in lives:
        life.token = tokens[life.made.invitation.id]
    outcomes = await asyncio.gather(
        *(life.revoke() if number % 2 else life.answer() for number, life in enumerate(lives))
    )
    for number, (life, outcome) in enumerate(zip(lives, outcomes, strict=True)):
        wanted = InvitationState.REVOKED if number % 2 else InvitationState.ACCEPTED
        assert outcome
        assert (outcome.id, outcome.state) == (life.made.invitation.id, wanted)
        assert as_of(await life.recorded(), LAPSES_AT).state is wanted
