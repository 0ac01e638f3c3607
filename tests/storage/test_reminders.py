"""Reminding invitees, on SQLite and PostgreSQL."""

import asyncio

import pytest

from server.domain.access import INVITEE, Actor
from server.domain.bounces import BounceReport
from server.domain.errors import Reason
from server.domain.events import EventType
from server.domain.invitation_options import DeliveryMethod, InvitationOptions
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    link_token_hash,
)
from server.domain.mail import DeliveryState
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.events.reading import logged
from tests.storage.records import DAY, LEASE, RESELLER, START, new, records
from tests.storage.stored_invitation import (
    LAPSES_AT,
    MINUTE,
    StoredInvitation,
    recorded,
    refused,
    sent,
)
from tests.storage.test_bounces import CAME_BACK, token_of
from tests.storage.test_corrections import corrected

pytestmark = pytest.mark.usefixtures("consistent")

DAYS = (7, 1)
WEEK = LAPSES_AT - 7 * DAY


async def first_look(storage: SqlStorage, limit: int = 10) -> None:
    assert await storage.retention.remind_invitees(START, DAYS, limit) == 0


async def asking(
    storage: SqlStorage, reminders: tuple[int, ...] | None, method: DeliveryMethod
) -> StoredInvitation:
    made = new()
    options = InvitationOptions(method=method, reminders=reminders)
    done = made.operation._replace(done=method is DeliveryMethod.LINK)
    made = made._replace(
        invitation=made.invitation._replace(options=options),
        operation=done,
    )
    stored = await recorded(storage, made)
    if method is DeliveryMethod.EMAIL:
        await stored.deliver()
    return stored


async def test_an_invitee_is_reminded_at_each_time_once(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    stored = await sent(storage)
    await first_look(storage)
    first = stored.token
    remind = storage.retention.remind_invitees
    assert await remind(WEEK - MINUTE, DAYS, 10) == 0
    counts = await asyncio.gather(
        *(each.retention.remind_invitees(WEEK, DAYS, 10) for each in (storage, other_process))
    )
    assert sorted(counts) == [0, 1]
    (reminder,) = await other_process.reminders.claim_reminders(10, WEEK, LEASE)
    assert await storage.reminders.claim_reminders(10, WEEK, LEASE) == []
    assert (reminder.is_reminder, reminder.email) == (True, stored.made.invitation.email)
    assert reminder.first_operation_id == stored.made.operation.id
    assert await storage.reminders.finish_reminder(reminder, WEEK)
    assert not await storage.reminders.finish_reminder(reminder, WEEK)
    event = (await logged(storage))[-1]
    assert (event.type, event.data) == (EventType.INVITATION_REMINDED, await stored.recorded())
    assert isinstance(event.data, Invitation)
    assert await remind(LAPSES_AT - 2 * DAY, DAYS, 10) == 0
    assert await remind(LAPSES_AT - DAY, DAYS, 10) == 1
    (second,) = await storage.reminders.claim_reminders(10, LAPSES_AT - DAY, LEASE)
    assert second.operation_id != reminder.operation_id
    assert await storage.reminders.finish_reminder(second, LAPSES_AT - DAY)
    assert await remind(LAPSES_AT - MINUTE, DAYS, 10) == 0
    # All links hold, those of before and those of the reminders.
    for token in (reminder.link_token, second.link_token, first):
        found = await stored.answer(token=token, now=LAPSES_AT - MINUTE)
        assert found
        assert found.state is InvitationState.ACCEPTED


async def test_a_reminder_that_has_not_gone_out_is_the_only_one(storage: SqlStorage) -> None:
    await sent(storage)
    await first_look(storage)
    assert await storage.retention.remind_invitees(WEEK, DAYS, 10) == 1
    assert await storage.retention.remind_invitees(LAPSES_AT - DAY, DAYS, 10) == 0
    assert len(await storage.reminders.claim_reminders(10, LAPSES_AT - DAY, LEASE)) == 1


async def test_an_invitation_says_by_itself_when(storage: SqlStorage) -> None:
    often = await asking(storage, (20, 10), DeliveryMethod.EMAIL)
    await asking(storage, (), DeliveryMethod.EMAIL)
    await asking(storage, (20, 10), DeliveryMethod.LINK)
    usual = await sent(storage)
    await first_look(storage)
    told = []
    for day in range(29, 0, -1):
        now = LAPSES_AT - day * DAY
        await storage.retention.remind_invitees(now, DAYS, 10)
        for reminder in await storage.reminders.claim_reminders(10, now, LEASE):
            assert await storage.reminders.finish_reminder(reminder, now)
            told.append((day, reminder.invitation_id))
    of_often, of_usual = often.made.invitation.id, usual.made.invitation.id
    assert told == [(20, of_often), (10, of_often), (7, of_usual), (1, of_usual)]


async def test_all_are_found_a_few_at_a_time(storage: SqlStorage) -> None:
    for number in range(5):
        await sent(storage, new(now=START + number * MINUTE))
    await first_look(storage)
    found, now = [], WEEK + DAY
    for _ in range(10):
        done = await storage.retention.remind_invitees(now, DAYS, 2)
        found += await storage.reminders.claim_reminders(10, now, LEASE)
        if done < 2:
            break
    assert len({each.invitation_id for each in found}) == len(found) == 5


async def test_who_is_passed_over_does_not_end_the_search(storage: SqlStorage) -> None:
    now, limit = WEEK + DAY, 2
    for _ in range(limit):  # whose e-mails have only just gone out
        await (await recorded(storage)).deliver(now - MINUTE)
    last = await sent(storage, new(now=START + MINUTE))
    await first_look(storage)
    assert await storage.retention.remind_invitees(now, DAYS, limit) == limit
    assert await storage.reminders.claim_reminders(10, now, LEASE) == []
    assert await storage.retention.remind_invitees(now, DAYS, limit) == 1
    (reminder,) = await storage.reminders.claim_reminders(10, now, LEASE)
    assert reminder.invitation_id == last.made.invitation.id


@pytest.mark.parametrize("how", ["answered", "revoked", "bounced", "suppressed", "corrected"])
async def test_who_needs_none_any_more_is_not_reminded(storage: SqlStorage, how: str) -> None:
    stored = await recorded(storage)
    delivery = await stored.deliver()
    await first_look(storage)
    assert await storage.retention.remind_invitees(WEEK, DAYS, 10) == 1
    if how == "answered":
        await stored.answer(InvitationAction.DECLINE)
    elif how == "revoked":
        await stored.revoke()
    elif how == "bounced":
        await storage.bounces.record_bounce(token_of(delivery), CAME_BACK, START + DAY)
    elif how == "suppressed":
        hash_ = link_token_hash(stored.token)
        await storage.suppressions.suppress_by_link(hash_, START + DAY, Actor(INVITEE))
    else:
        await corrected(stored, "another@example.com")
    assert await storage.reminders.claim_reminders(10, WEEK, LEASE) == []
    assert await storage.retention.remind_invitees(WEEK + MINUTE, DAYS, 10) == 0


async def test_nobody_is_reminded_of_what_has_lapsed(storage: SqlStorage) -> None:
    """It is not recorded as expired yet, and no worker or sweeper ran for a week."""
    await sent(storage)
    await first_look(storage)
    assert await storage.retention.remind_invitees(WEEK, DAYS, 10) == 1
    assert await storage.reminders.claim_reminders(10, LAPSES_AT, LEASE) == []
    await storage.retention.remind_invitees(LAPSES_AT, DAYS, 10)
    assert await storage.reminders.claim_reminders(10, LAPSES_AT, LEASE) == []


async def test_who_was_just_sent_an_e_mail_is_not_reminded(storage: SqlStorage) -> None:
    stored = await recorded(storage)
    await stored.deliver(WEEK - MINUTE)
    await first_look(storage)
    assert await storage.retention.remind_invitees(WEEK, DAYS, 10) == 0


async def test_reminders_are_held_with_e_mails_and_resellers(storage: SqlStorage) -> None:
    await sent(storage)
    await first_look(storage)
    await storage.retention.remind_invitees(WEEK, DAYS, 10)
    operator = storage.administration
    await operator.hold_mail(WEEK, "ann")
    assert await storage.reminders.claim_reminders(10, WEEK, LEASE) == []
    await operator.resume_mail(WEEK, "ann")
    await operator.suspend_reseller(RESELLER, WEEK, "ann")
    assert await storage.reminders.claim_reminders(10, WEEK, LEASE) == []
    await operator.resume_reseller(RESELLER, WEEK, "ann")
    assert len(await storage.reminders.claim_reminders(10, WEEK + DAY / 12, LEASE)) == 1


async def test_a_reminder_whose_worker_is_killed_goes_to_another(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    await sent(storage)
    await first_look(storage)
    await storage.retention.remind_invitees(WEEK, DAYS, 10)
    (lost,) = await storage.reminders.claim_reminders(10, WEEK, LEASE)
    later = WEEK + 2 * LEASE
    (again,) = await other_process.reminders.claim_reminders(10, later, LEASE)
    assert (again.operation_id, again.attempt) == (lost.operation_id, 2)
    assert not await storage.reminders.finish_reminder(lost, later)
    assert await storage.reminders.retry_reminder(again, later + DAY, later)
    assert await storage.reminders.claim_reminders(10, later, LEASE) == []
    (third,) = await storage.reminders.claim_reminders(10, later + DAY, LEASE)
    assert await storage.reminders.fail_reminder(third, later + DAY)
    reminded = [
        each for each in await logged(storage) if each.type is EventType.INVITATION_REMINDED
    ]
    assert reminded == []


async def test_a_reminder_that_is_refused_for_good_came_back(storage: SqlStorage) -> None:
    stored = await sent(storage)
    await first_look(storage)
    await storage.retention.remind_invitees(WEEK, DAYS, 10)
    (reminder,) = await storage.reminders.claim_reminders(10, WEEK, LEASE)
    report = BounceReport(True, True, 550, "5.1.1")
    assert await storage.reminders.fail_reminder(reminder, WEEK, report)
    delivery = (await stored.recorded()).delivery
    assert delivery
    assert delivery.state is DeliveryState.BOUNCED
    assert len(records(await storage.suppressions.list_suppressions(RESELLER, 10, None))) == 1


async def test_what_comes_back_of_a_reminder_is_recorded(storage: SqlStorage) -> None:
    stored = await sent(storage)
    await first_look(storage)
    await storage.retention.remind_invitees(WEEK, DAYS, 10)
    (reminder,) = await storage.reminders.claim_reminders(10, WEEK, LEASE)
    assert await storage.reminders.finish_reminder(reminder, WEEK)
    outcome = await storage.bounces.record_bounce(token_of(reminder), CAME_BACK, WEEK)
    assert outcome.is_recorded
    assert outcome.invitation_id == stored.made.invitation.id


async def test_a_customer_is_not_erased_while_it_is_reminded(
    storage: SqlStorage, database_url: str
) -> None:
    stored = await sent(storage)
    await first_look(storage)
    await storage.retention.remind_invitees(WEEK, DAYS, 10)
    (reminder,) = await storage.reminders.claim_reminders(10, WEEK, LEASE)
    erase, id_ = storage.operators.erase_customer, stored.made.customer.id
    assert (await refused(erase(id_, WEEK, "ann"))).reason is Reason.MAIL_UNDER_WAY
    assert await storage.reminders.retry_reminder(reminder, WEEK, WEEK)
    assert await erase(id_, WEEK, "ann")
    assert query(database_url, "SELECT * FROM reminders") == []
