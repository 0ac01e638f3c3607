"""Invitations that get another address, on SQLite and PostgreSQL."""

from datetime import datetime

import pytest

from server.domain.errors import Reason
from server.domain.events import EventType
from server.domain.invitations import Invitation, link_token_hash, resend
from server.domain.mail import DeliveryState
from server.domain.operations import CANCELLED, Deferral
from server.storage.interface import IdempotencyKey
from server.storage.storage import SqlStorage
from tests.storage.events.reading import logged
from tests.storage.records import (
    ACTOR,
    DAY,
    INVITATION_LIFETIME,
    REFUSED,
    START,
    claimed,
    invitations,
    key,
    new,
)
from tests.storage.stored_invitation import (
    LAPSES_AT,
    MINUTE,
    StoredInvitation,
    recorded,
    refused,
    sent,
)
from tests.storage.test_bounces import OF_POLICY, token_of

pytestmark = pytest.mark.usefixtures("consistent")


RIGHT = "right@example.com"


async def corrected(
    stored: StoredInvitation,
    email: str = RIGHT,
    now: datetime = START + DAY,
    use: IdempotencyKey | None = None,
) -> Invitation:
    operation = resend(stored.made.customer, resent_by="s", now=now)
    found = await stored.storage.invitations.correct_invitation(
        *(stored.made.invitation.id, email, operation, now + INVITATION_LIFETIME, ACTOR, use)
    )
    assert found
    return found


async def works(storage: SqlStorage, token: str) -> bool:
    view = await storage.invitations.look_up_invitation(link_token_hash(token))
    return view is not None and not view.replaced


async def test_what_came_back_goes_to_the_right_address(storage: SqlStorage) -> None:
    stored = await recorded(storage, new("wrong@example.com"))
    first = await stored.deliver()
    await storage.bounces.record_bounce(token_of(first), OF_POLICY, START + MINUTE)
    for _ in range(2):  # a repeat changes nothing more
        after = await corrected(stored, use=key("correct"))
        assert (after.email, after.delivery) == (RIGHT, None)
    assert after.expires_at == START + DAY + INVITATION_LIFETIME
    updated = (await logged(storage))[-1]
    assert updated.type is EventType.INVITATION_UPDATED
    assert isinstance(updated.data, Invitation)
    assert updated.data.delivery
    assert updated.data.delivery.state is DeliveryState.QUEUED
    again = await claimed(storage, START + DAY)
    assert again.email == RIGHT
    await storage.mail.finish_delivery(again, START + DAY)
    assert not await works(storage, first.link_token)
    assert await works(storage, again.link_token)
    assert not (
        await storage.bounces.record_bounce(token_of(first), OF_POLICY, START + 2 * DAY)
    ).is_recorded
    found = (await stored.recorded()).delivery
    assert found
    assert found.state is DeliveryState.SENT
    for address, number in ((RIGHT, 1), ("wrong@example.com", 0)):
        page = (
            await storage.invitations.list_invitations(
                invitations(None, address, reseller_id=stored.made.invitation.reseller_id),
                START + DAY,
                10,
                None,
            )
        ).rows
        assert len(page) == number
    # The first address is free again, the other one is taken.
    await storage.invitations.create_invitation(new("wrong@example.com"), None)
    error = await refused(storage.invitations.create_invitation(new(RIGHT), None))
    assert error.reason is Reason.INVITATION_OPEN


async def test_a_corrected_address_that_is_refused_stays(storage: SqlStorage) -> None:
    stored = await sent(storage)
    first = stored.token
    await corrected(stored)
    again = await claimed(storage, START + DAY)
    await storage.mail.fail_delivery(again, REFUSED, START + DAY)
    now = await stored.recorded()
    assert now.email == RIGHT
    assert now.delivery
    assert now.delivery.state is DeliveryState.BOUNCED
    assert now.delivery.last_error
    assert now.delivery.last_error.message == REFUSED.message
    assert not await works(storage, first)
    third = await corrected(stored, "third@example.com", START + 2 * DAY)
    assert third.email == "third@example.com"
    assert (await claimed(storage, START + 2 * DAY)).email == "third@example.com"


async def test_a_correction_that_is_cancelled_leaves_the_address(storage: SqlStorage) -> None:
    stored = await sent(storage)
    await corrected(stored)
    latest = await stored.latest()
    await storage.operations.cancel_operation(latest, START + DAY, ACTOR, None)
    now = await stored.recorded()
    assert (now.email, now.delivery) == (RIGHT, None)
    assert (await stored.operation(latest)).failure == CANCELLED


async def test_a_cancelled_correction_gives_no_link_to_the_former_address_back(
    storage: SqlStorage,
) -> None:
    stored = await sent(storage)
    first = stored.token
    await stored.resend(START + DAY)
    second = await stored.deliver(START + DAY)
    await corrected(stored, now=START + 2 * DAY)
    latest = await stored.latest()
    await storage.operations.cancel_operation(latest, START + 2 * DAY, ACTOR, None)
    for token in (first, second.link_token):
        assert not await works(storage, token)


async def test_an_e_mail_that_waits_goes_to_the_new_address(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    first = await stored.claim()
    error = await refused(corrected(stored))
    assert error.reason is Reason.MAIL_UNDER_WAY
    late = Deferral(1, "the mailbox is full", START + 10 * DAY)
    await storage.mail.retry_delivery(first, START + 10 * DAY, START, late)
    await corrected(stored)
    again = await claimed(storage, START + DAY)
    assert (again.email, again.operation_id) == (RIGHT, stored.made.operation.id)
    await storage.mail.finish_delivery(again, START + DAY)
    assert not await works(storage, first.link_token)
    assert await works(storage, again.link_token)
    assert (await stored.operation()).done


async def test_the_address_that_it_has_changes_nothing(storage: SqlStorage) -> None:
    stored = await sent(storage)
    before = await stored.recorded(), len(await logged(storage))
    await corrected(stored, stored.made.invitation.email)
    assert (await stored.recorded(), len(await logged(storage))) == before


async def test_a_correction_may_change_the_case_of_letters_alone(storage: SqlStorage) -> None:
    stored = await sent(storage, new("right@example.com"))
    assert (await corrected(stored, "Right@example.com")).email == "Right@example.com"


async def test_one_invitation_is_open_for_an_address(storage: SqlStorage) -> None:
    stored = await sent(storage)
    other = new(RIGHT)
    await storage.invitations.create_invitation(other, None)
    error = await refused(corrected(stored))
    assert error.reason is Reason.INVITATION_OPEN
    assert error.metadata["invitationId"] == other.invitation.id
    await corrected(stored, now=START + DAY, email="free@example.com")
    lapsed = await sent(storage, new("other@example.com", now=LAPSES_AT, tin="7736207543"))
    assert (await corrected(lapsed, now=LAPSES_AT + MINUTE)).email == RIGHT


@pytest.mark.parametrize("action", ["accept", "decline", "revoke", "expire"])
async def test_what_has_ended_keeps_its_address(storage: SqlStorage, action: str) -> None:
    stored = await sent(storage)
    await stored.act(action)
    assert (await refused(corrected(stored))).reason is Reason.INVITATION_STATE
    assert (
        await storage.invitations.correct_invitation(
            "inv00000000000000000",
            RIGHT,
            resend(stored.made.customer, resent_by="s", now=START),
            START,
            ACTOR,
            None,
        )
        is None
    )
