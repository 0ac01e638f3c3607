"""Reminders from the sweep to a real SMTP server."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from server.domain.events import EventType
from server.storage.interface import Delivery, Storage
from server.worker.handlers.reminder_mail import ReminderMail
from server.worker.handlers.sweeps import Sweeper, SweeperSettings
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.runner import Runner
from tests.clock import Clock
from tests.worker.harness import (
    LONG,
    MINUTE,
    RESELLER_ID,
    SETTINGS,
    at_work,
    invited,
    make_worker,
)
from tests.worker.mail_server import MailServer


def handling(storage: Storage, server: MailServer, clock: Clock) -> ReminderMail:
    messages = MessageBuilder("Billing <billing@example.com>", "http://localhost/i/", clock)
    mailer = SmtpMailer(SmtpServer.from_url(server.url), 1)
    return ReminderMail(storage.reminders, mailer, messages, clock)


def reminding(storage: Storage, server: MailServer, clock: Clock) -> Runner[Delivery]:
    return Runner(handling(storage, server, clock), clock, SETTINGS)


async def test_an_invitee_is_reminded(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    sweeper = Sweeper(storage.retention, clock, SweeperSettings(reminders=(7, 1)))
    await sweeper.sweep()
    operation = await invited(storage, "bender@example.com")
    async with at_work(make_worker(storage, mail_server.url, clock)):
        await storage.waits.wait_operation(operation.id, timedelta(seconds=20))
    clock.advance(timedelta(days=23, hours=1))
    await sweeper.sweep()
    async with at_work(reminding(storage, mail_server, clock)):
        await mail_server.until(2)
    # What is under way ends before the worker does.
    mails = [received.message for received in mail_server.received]
    assert [str(mail["Subject"]).startswith("Reminder: ") for mail in mails] == [False, True]
    assert mails[1]["In-Reply-To"] == mails[0]["Message-ID"]
    page = await storage.events.list_events(RESELLER_ID, 0, None, 10)
    assert page.events[-1].type is EventType.INVITATION_REMINDED


@pytest.mark.parametrize(
    ("email", "reply", "suppressed"),
    [
        ("bender@example.com", "550 5.1.1 No such user", 1),
        ("бендер@example.com", "550 5.6.7 Not permitted", 0),
    ],
)
async def test_a_reminder_that_is_refused_for_good_is_recorded(
    storage: Storage,
    mail_server: MailServer,
    clock: Clock,
    email: str,
    reply: str,
    suppressed: int,
) -> None:
    sweeper = Sweeper(storage.retention, clock, SweeperSettings(reminders=(7,)))
    await sweeper.sweep()
    operation = await invited(storage, email)
    async with at_work(make_worker(storage, mail_server.url, clock)):
        await storage.waits.wait_operation(operation.id, timedelta(seconds=20))
    clock.advance(timedelta(days=23, hours=1))
    await sweeper.sweep()
    mail_server.replies["RCPT"] = [reply]
    async with at_work(reminding(storage, mail_server, clock)):
        await mail_server.until(2, "RCPT")
    page = await storage.events.list_events(RESELLER_ID, 0, None, 10)
    assert page.events[-1].type is EventType.INVITATION_BOUNCED
    listed = await storage.suppressions.list_suppressions(RESELLER_ID, 10, None)
    assert len(listed) == suppressed


async def test_a_reminder_is_put_off_and_then_given_up(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    sweeper = Sweeper(storage.retention, clock, SweeperSettings(reminders=(7,)))
    await sweeper.sweep()
    operation = await invited(storage, "bender@example.com")
    async with at_work(make_worker(storage, mail_server.url, clock)):
        await storage.waits.wait_operation(operation.id, timedelta(seconds=20))
    clock.advance(timedelta(days=23, hours=1))
    await sweeper.sweep()
    handler = handling(storage, mail_server, clock)

    async def claim() -> Sequence[Delivery]:
        return await handler.claim(10, LONG, timedelta(hours=1), retries_first=False)

    (work,) = await claim()
    assert await handler.put_off(work, OSError(), clock() + MINUTE)()
    assert await claim() == []
    clock.advance(MINUTE)
    (work,) = await claim()
    assert await handler.give_back(work)
    (work,) = await claim()
    assert await handler.give_up(work, OSError())()
    clock.advance(2 * LONG)
    assert await claim() == []
    page = await storage.events.list_events(RESELLER_ID, 0, None, 10)
    assert EventType.INVITATION_REMINDED not in [event.type for event in page.events]
    await handler.close()
