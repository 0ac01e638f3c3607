"""E-mails that are not taken for long: what callers and operators are told, and who waits for whom."""

import asyncio
import logging
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from billing.v1.customer_service_pb2 import InviteCustomerMetadata

from server.domain.access import Actor
from server.domain.errors import Reason
from server.domain.invitations import invite
from server.domain.operations import Deferral
from server.rpc.messages.operations import to_longrunning, to_yandex
from server.storage.interface import Storage
from server.use_cases.operations import OperationWithSubject
from server.worker.retry_policy import RetryPolicy
from tests.clock import Clock
from tests.storage.databases import query
from tests.worker.harness import (
    AT_ONCE,
    LONG,
    MINUTE,
    RESELLER_ID,
    SETTINGS,
    START,
    RecordingStorage,
    at_work,
    customer_is_there,
    ended,
    invited,
    is_done,
    make_worker,
)
from tests.worker.mail_server import MailServer, serving

DAY = timedelta(days=1)


class TestRefusalsOfTheSender:
    @pytest.mark.parametrize(
        ("command", "reply"),
        [
            ("MAIL", "550 5.1.8 <billing@example.com> has no such domain"),
            ("MAIL", "550 <billing@example.com> no"),
            ("RCPT", "550 5.7.1 <canary@example.com> Relaying denied"),
            ("RCPT", "554 5.7.26 DMARC: canary@example.com"),
            ("DATA", "554 5.6.0 canary@example.com looks like spam"),
            ("DATA", "552 5.3.4 too large"),
        ],
    )
    async def test_take_no_customer_back_and_are_told_to_the_operator_once(
        self,
        storage: Storage,
        mail_server: MailServer,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
        command: str,
        reply: str,
    ) -> None:
        mail_server.replies[command] = [reply] * 20
        operations = [await invited(storage, f"canary-{number}@example.com") for number in range(5)]
        recording = RecordingStorage(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            await recording.until(5, "retry_delivery")
            for operation in operations:
                assert not await is_done(storage, operation)
                assert await customer_is_there(storage, operation.id)
            mail_server.replies.clear()
            clock.advance(MINUTE)
            for operation in operations:
                assert (await ended(storage, operation)).failure is None
        (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        code_and_status = re.sub(r" [^\d].*", "", reply)
        assert f"{command}: {code_and_status}" in line.getMessage()
        assert "SPF, DKIM and DMARC" in line.getMessage()
        assert "canary" not in caplog.text

    async def test_at_the_log_in_are_told_as_such(
        self,
        storage: Storage,
        mail_server: MailServer,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        mail_server.auth_on_plain = True
        recording = RecordingStorage(storage)
        await invited(storage)
        url = mail_server.url.replace("//", "//canary:secret@")
        async with at_work(make_worker(recording, url, clock)):
            await recording.until(1, "retry_delivery")
        (line,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert "check BILLING_SMTP_URL" in line.getMessage()
        assert "connection: 535 5.7.8" in line.getMessage()
        assert "canary" not in caplog.text
        assert "secret" not in caplog.text


class TestWhatTheOperationTells:
    async def test_the_last_error_and_the_next_try(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.replies = {"RCPT": ["451 4.3.0 <canary@example.com> not now"] * 2}
        operation = await invited(storage)
        recording = RecordingStorage(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            await recording.until(1, "retry_delivery")
            clock.advance(timedelta(seconds=10))
            await recording.until(2, "retry_delivery")
            now = await storage.operations.get_operation(operation.id)
            assert now
            next_at = START + timedelta(seconds=30)
            assert now.deferral == Deferral(
                2, "the mail server said 451 4.3.0", next_at, 451, "4.3.0"
            )
            assert now.modified_at == START + timedelta(seconds=10)
            assert to_yandex(now).description == (
                "Invite customer: at attempt 2 the mail server said 451 4.3.0;"
                " next attempt at 2026-11-22T12:00:30Z"
            )
            # The other view has no description; its metadata tells.
            ours, about = to_longrunning(OperationWithSubject(now, None)), InviteCustomerMetadata()
            assert not ours.done
            assert ours.metadata.Unpack(about)
            assert about.delivery.attempts == 2
            assert about.delivery.last_error.message == "The recipient's mail server has a fault."
            assert about.delivery.next_attempt_time.ToDatetime(next_at.tzinfo) == next_at
            clock.at = next_at
            after = await ended(storage, operation)
        assert to_yandex(after).description == "Invite customer"

    async def test_the_longest_description_is_as_long_as_may_be(self, storage: Storage) -> None:
        operation = await invited(storage)
        longest = Deferral(10**6, "the mail server said 599 5.999.999", START)
        assert len(to_yandex(operation._replace(deferral=longest)).description) <= 256

    async def test_that_the_mail_server_is_away(
        self, storage: Storage, database: str, unused_tcp_port: int, clock: Clock
    ) -> None:
        url = f"smtp://127.0.0.1:{unused_tcp_port}"
        operations = [await invited(storage) for _ in range(3)]
        recording = RecordingStorage(storage)
        async with at_work(make_worker(recording, url, clock)):
            await recording.until(3, "retry_delivery")
        for each in operations:
            now = await storage.operations.get_operation(each.id)
            assert now
            assert now.deferral
            assert now.deferral.problem == "the mail server can't be reached"
        assert query(database, "SELECT count(*) FROM link_tokens") == [(0,)]


async def test_an_outage_of_days_loses_nothing(
    storage: Storage, unused_tcp_port: int, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """By the default delays; every e-mail goes out within half an hour of its end."""
    five_days = replace(SETTINGS, retry=RetryPolicy())
    operations = [await invited(storage, f"canary-{number}@example.com") for number in range(20)]
    url = f"smtp://127.0.0.1:{unused_tcp_port}"
    recording = RecordingStorage(storage)
    async with at_work(make_worker(recording, url, clock, five_days)):
        for attempt in range(1, 40):
            await recording.until(20 * attempt, "retry_delivery")
            clock.advance(timedelta(hours=3))
    assert clock() - START > 4 * DAY
    for operation in operations:
        assert not await is_done(storage, operation)
    assert len(caplog.records) <= 3
    async with serving(MailServer()) as server, at_work(make_worker(storage, server.url, clock)):
        clock.advance(timedelta(minutes=30))
        for operation in operations:
            assert (await ended(storage, operation)).failure is None
    assert len(server.received) == 20


async def test_an_invitation_that_lapses_while_its_e_mail_is_put_off_ends_it(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    """At that time, and not at the try that would come next."""
    mail_server.replies["RCPT"] = ["450 later"] * 100
    lapses_at = START + timedelta(seconds=25)
    new = invite(
        reseller_id=RESELLER_ID,
        name="Canary LLC",
        email="canary@example.com",
        person={},
        actor=Actor("aje00000000000000001"),
        now=START,
        lifetime=lapses_at - START,
    )
    operation = await storage.invitations.create_invitation(new, None)
    recording = RecordingStorage(storage)
    async with at_work(make_worker(recording, mail_server.url, clock)):
        await recording.until(1, "retry_delivery")
        clock.advance(timedelta(seconds=10))
        (_, due_at, _, deferral) = await recording.until(2, "retry_delivery")
        assert due_at == deferral.next_attempt_at == lapses_at
        clock.at = lapses_at
        failure = (await ended(storage, operation)).failure
    assert failure
    assert (failure.reason, failure.metadata) == (Reason.INVITATION_STATE, {"state": "EXPIRED"})
    assert mail_server.commands.count("RCPT") == 2


class TestInternationalAddresses:
    async def test_are_refused_with_the_reason_where_they_can_not_be_sent(
        self, storage: Storage, clock: Clock
    ) -> None:
        operation = await invited(storage, "почта@пример.рф")
        async with (
            serving(MailServer(smtputf8=False)) as server,
            at_work(make_worker(storage, server.url, clock)),
        ):
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.reason is Reason.SMTPUTF8_MISSING
        assert "part before the @ is ASCII" in failure.message
        assert not await customer_is_there(storage, operation.id)

    async def test_need_nothing_where_only_the_domain_is_not_ascii(
        self, storage: Storage, clock: Clock
    ) -> None:
        operation = await invited(storage, "info@пример.рф")
        async with (
            serving(MailServer(smtputf8=False)) as server,
            at_work(make_worker(storage, server.url, clock)),
        ):
            assert (await ended(storage, operation)).failure is None
        (received,) = server.received
        assert received.recipients == ["info@xn--e1afmkfd.xn--p1ai"]


async def _put_off(storage: Storage, count: int, clock: Clock) -> None:
    """Leaves so many e-mails that are due again, all at once."""
    await asyncio.gather(
        *(invited(storage, f"old-{number}@example.com") for number in range(count))
    )
    deliveries = await storage.mail.claim_deliveries(count, clock(), LONG)
    deferral = Deferral(1, "the mail server said 451", clock())
    await asyncio.gather(
        *(storage.mail.retry_delivery(each, clock(), clock(), deferral) for each in deliveries)
    )


async def test_a_new_e_mail_does_not_wait_behind_thousands_that_are_tried_again(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    few = replace(SETTINGS, parallel=4)
    clock.advance(MINUTE)
    await _put_off(storage, 2000, clock)
    async with at_work(make_worker(storage, mail_server.url, clock, few)):
        await mail_server.until(20)
        new = await invited(storage, "new@example.com", at=clock())
        before = len(mail_server.received)
        await ended(storage, new)
    place = [each.recipients[0] for each in mail_server.received].index("new@example.com")
    assert place - before < 200


async def test_those_that_are_tried_again_have_their_turn_among_new_ones(
    storage: Storage, mail_server: MailServer, clock: Clock
) -> None:
    few = replace(AT_ONCE, parallel=2)
    await _put_off(storage, 10, clock)
    await asyncio.gather(*(invited(storage, f"new-{n}@example.com") for n in range(400)))
    async with at_work(make_worker(storage, mail_server.url, clock, few)):
        await mail_server.until(200)
    first = [each.recipients[0] for each in mail_server.received[:200]]
    assert sum(address.startswith("old") for address in first) == 10
