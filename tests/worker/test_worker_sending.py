"""An invitation's e-mail when all goes well."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from server.domain.operations import CANCELLED
from server.storage.interface import Storage
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.settings import RunnerSettings
from tests.clock import Clock
from tests.storage.records import ACTOR
from tests.worker.harness import (
    MINUTE,
    SETTINGS,
    START,
    at_work,
    customer_is_there,
    ended,
    invited,
    is_done,
    make_worker,
)
from tests.worker.mail_server import MailServer


class TestSending:
    async def test_an_e_mail_is_sent_as_soon_as_it_is_recorded(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """With nothing but the storage's word to go by."""
        settings = replace(SETTINGS, longest_wait=timedelta(hours=1))
        async with at_work(make_worker(storage, mail_server.url, clock, settings)):
            for number in range(1, 4):
                operation = await ended(storage, await invited(storage))
                assert operation.failure is None
                assert len(mail_server.received) == number
        assert await customer_is_there(storage, operation.id)

    async def test_finds_what_is_there_already(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        operations = [await invited(storage) for _ in range(5)]
        async with at_work(make_worker(storage, mail_server.url, clock)):
            for operation in operations:
                assert (await ended(storage, operation)).failure is None
        sent = [received.message["Message-ID"] for received in mail_server.received]
        assert sorted(sent) == sorted(f"<{each.id}@example.com>" for each in operations)

    async def test_sends_at_once_what_a_wrong_clock_has_dated(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        operation = await invited(storage, at=START + timedelta(days=20))
        async with at_work(make_worker(storage, mail_server.url, clock)):
            assert (await ended(storage, operation)).failure is None
        assert len(mail_server.received) == 1

    async def test_sends_names_and_addresses_in_any_script(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        operation = await invited(storage, "почта@пример.рф", "ООО «Ромашка»")
        async with at_work(make_worker(storage, mail_server.url, clock)):
            assert (await ended(storage, operation)).failure is None
        (received,) = mail_server.received
        assert received.recipients == ["почта@пример.рф"]
        assert received.message["Subject"] == "Acme Canary Cloud invites ООО «Ромашка»"

    async def test_claims_only_what_it_can_send(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["RCPT"] = asyncio.Event()
        operations = [
            await invited(storage, at=START + timedelta(microseconds=n)) for n in range(5)
        ]
        clock.advance(timedelta(seconds=1))
        two = replace(SETTINGS, parallel=2)
        async with at_work(make_worker(storage, mail_server.url, clock, two)):
            await mail_server.until(2, "RCPT")
            # Those not being sent can still be cancelled.
            for operation in operations[2:4]:
                cancelled = await storage.operations.cancel_operation(
                    operation.id, clock(), ACTOR, None
                )
                assert cancelled
                assert cancelled.failure == CANCELLED
            mail_server.gates["RCPT"].set()
            for operation in (*operations[:2], operations[4]):
                assert (await ended(storage, operation)).failure is None
        assert len(mail_server.received) == 3

    async def test_slow_e_mails_hold_none_up(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """A place that gets free is filled at once, while its neighbour still hangs."""
        gate = mail_server.gates["RCPT"] = asyncio.Event()
        slow = await invited(storage)
        two = replace(SETTINGS, parallel=2)
        async with at_work(make_worker(storage, mail_server.url, clock, two)):
            await mail_server.until(1, "RCPT")
            del mail_server.gates["RCPT"]
            for _ in range(5):
                assert (await ended(storage, await invited(storage))).failure is None
            assert not await is_done(storage, slow)
            gate.set()
            assert (await ended(storage, slow)).failure is None

    async def test_many_that_hang_hold_none_up(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """Recipients whose servers hang take all slots, and lose them once they count as slow."""
        gate = mail_server.gates["RCPT"] = asyncio.Event()
        settings = replace(
            SETTINGS,
            parallel=2,
            extra_slots=4,
            slow_after=timedelta(milliseconds=100),
            attempt_within=MINUTE / 2,
        )
        hanging = [await invited(storage) for _ in range(4)]
        mailer = SmtpMailer(SmtpServer.from_url(mail_server.url), 6)
        async with at_work(make_worker(storage, mailer, clock, settings)):
            await mail_server.until(4, "RCPT")
            del mail_server.gates["RCPT"]
            assert (await ended(storage, await invited(storage))).failure is None
            assert not any([await is_done(storage, each) for each in hanging])
            gate.set()
            for each in hanging:
                assert (await ended(storage, each)).failure is None

    async def test_no_more_hang_at_once_than_told(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        gate = mail_server.gates["RCPT"] = asyncio.Event()
        settings = replace(
            SETTINGS, parallel=2, extra_slots=1, slow_after=timedelta(milliseconds=1)
        )
        for _ in range(9):
            await invited(storage)
        mailer = SmtpMailer(SmtpServer.from_url(mail_server.url), 9)
        async with at_work(make_worker(storage, mailer, clock, settings)) as worker:
            await mail_server.until(3, "RCPT")
            assert worker._free_slots() == (0, None)  # time alone makes no more room
            del mail_server.gates["RCPT"]
            gate.set()
            await mail_server.until(9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_slots": -1},
        {"parallel": 0},
        {"attempt_within": timedelta()},
        {"attempt_within": timedelta(minutes=1), "lease": timedelta(minutes=1)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        RunnerSettings(**wrong)  # type: ignore[arg-type]
