"""Many invitations, of which some come back: every state is right, and each is told of once.

`make bounces` sends ten thousand; the usual run is short.
"""

import asyncio
import os
from collections import Counter

import aiosmtplib
import pytest

from server.bounces.receiver import BounceReceiver
from server.domain.events import EventType
from server.domain.invitations import InvitationList, InvitationState
from server.domain.mail import DeliveryState
from server.storage.check.consistency import check
from server.storage.interface import Storage
from server.worker.handlers.invitation_mail import InvitationMail
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.runner import Runner
from tests.bounces.samples import SAMPLES
from tests.clock import Clock
from tests.worker.conftest import clock, database, mail_server, storage
from tests.worker.harness import RESELLER_ID, SETTINGS, at_work, invited
from tests.worker.mail_server import MailServer

__all__ = ["clock", "database", "mail_server", "storage"]  # fixtures

COUNT = int(os.environ.get("BOUNCE_COUNT", "200"))
# Every so manyth comes back: three in a hundred.
EVERY = 33
DOMAIN = "bounces.example.com"


@pytest.mark.timeout(900)
async def test_each_that_comes_back_is_told_of_once(
    storage: Storage, database: str, mail_server: MailServer, clock: Clock
) -> None:
    receiver = BounceReceiver(storage.bounces, DOMAIN, clock)
    await receiver.listen("127.0.0.1", 0)
    messages = MessageBuilder(
        "Billing <billing@example.com>", "http://localhost/i/", clock, bounce_domain=DOMAIN
    )
    smtp = SmtpMailer(SmtpServer.from_url(mail_server.url), SETTINGS.parallel)
    worker = Runner(InvitationMail(storage.mail, smtp, messages, clock), clock, SETTINGS)
    async with at_work(worker):
        for start in range(0, COUNT, 100):
            await asyncio.gather(
                *(invited(storage, f"user{n}@example.com") for n in range(start, start + 100))
            )
        async with asyncio.timeout(600), mail_server.news:
            await mail_server.news.wait_for(lambda: len(mail_server.received) >= COUNT)
    senders = {mail.recipients[0]: mail.sender for mail in mail_server.received}
    assert len(set(senders.values())) == len(senders) == COUNT
    back = {f"user{n}@example.com" for n in range(0, COUNT, EVERY)}
    late = {f"user{n}@example.com" for n in range(1, COUNT, EVERY)}

    async def report(address: str, name: str) -> None:
        async with aiosmtplib.SMTP(
            hostname="127.0.0.1", port=receiver.port, start_tls=False, timeout=60
        ) as client:
            # Some servers tell twice.
            for _ in range(2):
                await client.sendmail("", [senders[address]], SAMPLES[name].content)

    places = asyncio.Semaphore(10)

    async def in_turn(address: str, name: str) -> None:
        async with places:
            await report(address, name)

    await asyncio.gather(
        *(in_turn(address, "postfix") for address in back),
        *(in_turn(address, "postfix is late") for address in late),
    )
    await receiver.stop()
    states: Counter[tuple[InvitationState, DeliveryState | None, bool]] = Counter()
    after = None
    while page := (
        await storage.invitations.list_invitations(
            InvitationList(RESELLER_ID), clock(), 1000, after
        )
    ).rows:
        for row in page:
            delivery = row.record.delivery
            state = delivery.state if delivery else None
            states[row.record.state, state, row.record.email in back] += 1
        after = page[-1].cursor
    assert states == {
        (InvitationState.PENDING, DeliveryState.BOUNCED, True): len(back),
        (InvitationState.PENDING, DeliveryState.SENT, False): COUNT - len(back),
    }
    types = await _event_types(storage)
    assert types == {
        EventType.CUSTOMER_INVITED: COUNT,
        EventType.INVITATION_SENT: COUNT,
        EventType.INVITATION_BOUNCED: len(back),
    }
    suppressed = await storage.suppressions.list_suppressions(RESELLER_ID, 1000, None)
    assert {row.record.email for row in suppressed} == back
    assert [finding for finding in check(database) if finding.count] == []


async def _event_types(storage: Storage) -> Counter[EventType]:
    types: Counter[EventType] = Counter()
    last = (await storage.events.get_log_bounds(RESELLER_ID)).last
    after = 0
    while after < last:
        page = await storage.events.list_events(RESELLER_ID, after, None, 1000)
        types.update(event.type for event in page.events)
        after = page.read_to
    return types
