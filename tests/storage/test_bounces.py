"""What comes back of invitations' e-mails, on SQLite and PostgreSQL."""

import asyncio

import pytest

from server.domain.bounces import BounceOutcome, BounceReport, BounceToken, parse_bounce_local_part
from server.domain.events import EventType
from server.domain.invitations import Invitation, InvitationState
from server.domain.mail import DeliveryError, DeliveryState, EmailDelivery
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.events.reading import logged
from tests.storage.records import DAY, REFUSED, START, claimed
from tests.storage.stored_invitation import LAPSES_AT, MINUTE, StoredInvitation, recorded, sent

pytestmark = pytest.mark.usefixtures("consistent")

CAME_BACK = BounceReport(True, True, 550, "5.1.1")
# No e-mail of ours arrives there, though others would.
OF_POLICY = BounceReport(True, False, 550, "5.7.26")
LATE = BounceReport(False, False, 451, "4.4.1")
NO_MAILBOX = DeliveryError("There is no such mailbox.", 550, "5.1.1")


def token_of(delivery: Delivery) -> BounceToken:
    token = parse_bounce_local_part(delivery.bounce_local_part.upper())
    assert token
    return token


def told(stored: StoredInvitation, *, is_recorded: bool = False) -> BounceOutcome:
    """Returns what is told of a report of the first e-mail."""
    made = stored.made
    return BounceOutcome(
        made.invitation.id,
        is_recorded=is_recorded,
        operation_id=made.operation.id,
        customer_id=made.customer.id,
        reseller_id=made.customer.reseller_id,
    )


async def changes_nothing(
    stored: StoredInvitation, token: BounceToken, report: BounceReport = CAME_BACK, after: int = 1
) -> BounceOutcome:
    before = await stored.recorded(), len(await logged(stored.storage))
    outcome = await stored.storage.bounces.record_bounce(token, report, START + after * MINUTE)
    assert not outcome.is_recorded
    assert (await stored.recorded(), len(await logged(stored.storage))) == before
    return outcome


async def test_what_comes_back_is_recorded_once(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    token = token_of(await stored.deliver(START + MINUTE))
    assert await storage.bounces.knows_bounce(token)
    outcome = await storage.bounces.record_bounce(token, CAME_BACK, START + DAY)
    assert outcome == told(stored, is_recorded=True)
    now = await stored.recorded()
    assert now.state is InvitationState.PENDING
    assert now.delivery == EmailDelivery(
        DeliveryState.BOUNCED, 1, NO_MAILBOX, sent_at=START + MINUTE
    )
    event = (await logged(storage))[-1]
    assert (event.type, event.data, event.created_at) == (
        *(EventType.INVITATION_BOUNCED, now, START + DAY),
    )
    assert isinstance(event.data, Invitation)
    outcome = await changes_nothing(stored, token, after=2000)
    assert outcome == told(stored)


async def test_of_what_comes_back_at_once_each_is_told_once(storage: SqlStorage) -> None:
    stored = await sent(storage)
    other = await recorded(storage)
    tokens = [token_of(await other.deliver())] * 3
    outcomes = await asyncio.gather(
        *(storage.bounces.record_bounce(token, CAME_BACK, START + DAY) for token in tokens)
    )
    assert sorted(outcome.is_recorded for outcome in outcomes) == [False, False, True]
    delivery = (await stored.recorded()).delivery
    assert delivery
    assert delivery.state is DeliveryState.SENT


async def test_what_is_late_forged_or_of_another_changes_nothing(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    token = token_of(await stored.deliver())
    await changes_nothing(stored, token, LATE)
    for forged in (
        token._replace(proof=bytes(12)),
        token._replace(number=token.number ^ 1),
        BounceToken(2**64 - 1, bytes(12)),
        BounceToken(0, bytes(12)),
    ):
        assert not await storage.bounces.knows_bounce(forged)
        assert await changes_nothing(stored, forged) == BounceOutcome()


async def test_an_e_mail_that_was_replaced_may_come_back(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    first = token_of(await stored.deliver())
    await stored.resend(START + MINUTE)
    assert not (await changes_nothing(stored, first)).too_early
    second = token_of(await stored.claim(START + MINUTE))
    assert (await changes_nothing(stored, second)).too_early
    await changes_nothing(stored, first)


async def test_a_report_that_overtakes_the_record_of_sending_is_to_come_again(
    storage: SqlStorage,
) -> None:
    stored = await recorded(storage)
    delivery = await stored.claim()
    assert (await changes_nothing(stored, token_of(delivery))).too_early
    await storage.mail.finish_delivery(delivery, START)
    again = await storage.bounces.record_bounce(token_of(delivery), CAME_BACK, START + DAY)
    assert again.is_recorded


@pytest.mark.parametrize("action", ["accept", "decline", "revoke", "expire"])
async def test_an_invitation_that_has_ended_stays_so(storage: SqlStorage, action: str) -> None:
    stored = await recorded(storage)
    token = token_of(await stored.deliver())
    await stored.act(action)
    await changes_nothing(stored, token)


async def test_a_lapsed_invitation_stays_so(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    token = token_of(await stored.deliver())
    late = (LAPSES_AT - START) // MINUTE
    await changes_nothing(stored, token, after=late)


async def test_what_came_back_can_be_sent_again(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    first = token_of(await stored.deliver())
    await storage.bounces.record_bounce(first, OF_POLICY, START + MINUTE)
    await stored.resend(START + 2 * MINUTE)
    unsent = await storage.invitations.get_unsent(stored.made.invitation.id)
    assert unsent == EmailDelivery(DeliveryState.QUEUED)
    await changes_nothing(stored, first)
    second = await claimed(storage, START + 2 * MINUTE)
    await storage.mail.finish_delivery(second, START + 3 * MINUTE)
    now = await stored.recorded()
    assert now.delivery == EmailDelivery(DeliveryState.SENT, 1, sent_at=START + 3 * MINUTE)
    await changes_nothing(stored, first)
    assert (
        await storage.bounces.record_bounce(token_of(second), OF_POLICY, START + DAY)
    ).is_recorded


async def test_a_resend_that_is_refused_leaves_it_as_it_came_back(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    first = token_of(await stored.deliver())
    await storage.bounces.record_bounce(first, OF_POLICY, START + MINUTE)
    before = await stored.recorded()
    await stored.resend(START + 2 * MINUTE)
    again = await claimed(storage, START + 2 * MINUTE)
    await storage.mail.fail_delivery(again, REFUSED, START + 3 * MINUTE)
    assert await stored.recorded() == before
