"""An invitation's e-mail when the mail server does not take it."""

import asyncio
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from server.domain.errors import Reason
from server.storage.interface import Delivery, Storage
from server.worker.mail.mailer import Mail
from tests.clock import Clock
from tests.worker.harness import (
    AT_ONCE,
    MINUTE,
    ONCE,
    START,
    RecordingStorage,
    at_work,
    customer_is_there,
    ended,
    invited,
    is_done,
    make_worker,
)
from tests.worker.mail_server import OK, MailServer


class TestFailures:
    @pytest.mark.parametrize(
        ("jitter", "delays"), [(0.0, [10, 20, 40, 60]), (1.0, [7.5, 15, 30, 45])]
    )
    async def test_temporary_ones_are_retried_with_growing_delays(
        self,
        storage: Storage,
        mail_server: MailServer,
        clock: Clock,
        jitter: float,
        delays: list[float],
    ) -> None:
        mail_server.replies = {"MAIL": ["421 no"], "RCPT": ["451 no"], "DATA": ["452 no", "450 no"]}
        recording = RecordingStorage(storage)
        operation = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock, jitter=jitter)):
            for number, delay in enumerate(delays, start=1):
                (_, due_at, now, _) = await recording.until(number, "retry_delivery")
                assert due_at - now == timedelta(seconds=delay)
                assert not await is_done(storage, operation)
                clock.advance(timedelta(seconds=delay))
            assert (await ended(storage, operation)).failure is None
        assert len(mail_server.received) == 1

    async def test_a_retry_comes_when_it_is_due_and_not_before(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.replies["RCPT"] = ["450 later"]
        recording = RecordingStorage(storage)
        first = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            await recording.until(1, "retry_delivery")
            clock.advance(timedelta(seconds=9.9))
            second = await invited(storage, at=clock())
            await ended(storage, second)
            assert not await is_done(storage, first)
            clock.advance(timedelta(seconds=0.2))
            await ended(storage, first)
        assert len(mail_server.received) == 2

    @pytest.mark.parametrize("command", ["RCPT", "DATA"])
    async def test_lasting_ones_take_the_customer_back(
        self, storage: Storage, mail_server: MailServer, clock: Clock, command: str
    ) -> None:
        mail_server.replies[command] = ["550 5.1.1 <canary@example.com> is unknown"]
        operation = await invited(storage)
        async with at_work(make_worker(storage, mail_server.url, clock)):
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.reason is Reason.RECIPIENT_REFUSED
        assert failure.metadata == {"smtpCode": "550", "smtpStatus": "5.1.1"}
        assert "canary" not in failure.message
        assert not await customer_is_there(storage, operation.id)

    async def test_those_of_too_long_a_time_take_the_customer_back(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.replies["RCPT"] = ["450 4.2.1 canary"] * 10
        recording = RecordingStorage(storage)
        operation = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            for number, delay_s in enumerate([10, 20, 40, 60, 50], start=1):
                (_, due_at, now, _) = await recording.until(number, "retry_delivery")
                assert due_at - now == timedelta(seconds=delay_s)
                clock.at = due_at
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.reason is Reason.MAIL_UNDELIVERED
        assert failure.message == (
            "The e-mail could not be delivered in 6 attempts within 3 minutes; at the last one the"
            " mail server said 450 4.2.1. Invite again later."
        )
        assert failure.metadata == {"attempts": "6", "smtpCode": "450", "smtpStatus": "4.2.1"}
        assert not await customer_is_there(storage, operation.id)
        assert mail_server.commands.count("RCPT") == 6

    async def test_an_attempt_without_a_mail_server_counts(
        self, storage: Storage, unused_tcp_port: int, clock: Clock
    ) -> None:
        operation = await invited(storage)
        async with at_work(
            make_worker(storage, f"smtp://127.0.0.1:{unused_tcp_port}", clock, ONCE)
        ):
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.metadata == {"attempts": "1"}

    async def test_one_that_hangs_ends_before_its_lease(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["DATA"] = asyncio.Event()
        operation = await invited(storage)
        hasty = replace(ONCE, attempt_within=timedelta(milliseconds=50))
        async with at_work(make_worker(storage, mail_server.url, clock, hasty)):
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.reason is Reason.MAIL_UNDELIVERED

    @pytest.mark.parametrize("left_ms", [50, 0, -50])
    async def test_one_that_starts_late_in_its_lease_has_the_rest_of_it(
        self, storage: Storage, mail_server: MailServer, clock: Clock, left_ms: int
    ) -> None:
        """Its outcome is to be recorded while the lease holds, so it is not begun past that."""
        settings = replace(
            AT_ONCE, lease=2 * MINUTE, attempt_within=2 * MINUTE - timedelta(seconds=10)
        )

        class Late(RecordingStorage):
            """Answers a claim so late that an attempt has this much time left."""

            async def claim_deliveries(self, *arguments: Any, **named: Any) -> list[Delivery]:
                found = await self.storage.mail.claim_deliveries(*arguments, **named)
                if found and found[0].attempt == 1:
                    clock.advance(settings.attempt_within - timedelta(milliseconds=left_ms))
                return found

        gate = mail_server.gates["EHLO"] = asyncio.Event()
        operation = await invited(storage)
        late = Late(storage)
        async with at_work(make_worker(late, mail_server.url, clock, settings)):
            try:
                _, due_at, now, _ = await late.until(1, "retry_delivery")
            finally:
                gate.set()
            assert due_at == now == clock()
            assert now < START + settings.lease
            if left_ms <= 0:
                assert not mail_server.commands
            # The next attempt has all its time.
            assert (await ended(storage, operation)).failure is None
        assert len(mail_server.received) == 1

    async def test_one_whose_clock_is_set_back_has_no_more_time_for_it(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        settings = replace(AT_ONCE, attempt_within=timedelta(milliseconds=50))

        class SetBack(RecordingStorage):
            """Answers the first claim by a clock that is then an hour behind."""

            async def claim_deliveries(self, *arguments: Any, **named: Any) -> list[Delivery]:
                found = await self.storage.mail.claim_deliveries(*arguments, **named)
                if found and found[0].attempt == 1:
                    clock.advance(-60 * MINUTE)
                return found

        gate = mail_server.gates["EHLO"] = asyncio.Event()
        operation = await invited(storage)
        set_back = SetBack(storage)
        async with at_work(make_worker(set_back, mail_server.url, clock, settings)):
            try:
                await set_back.until(1, "retry_delivery")
            finally:
                gate.set()
            assert (await ended(storage, operation)).failure is None

    async def test_an_impossible_address_is_refused(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        operation = await invited(storage, email="canary@example.com\r\nRCPT TO:<b@example.com>")
        async with at_work(make_worker(storage, mail_server.url, clock)):
            failure = (await ended(storage, operation)).failure
        assert failure
        assert failure.reason is Reason.RECIPIENT_REFUSED
        assert not mail_server.commands

    async def test_what_nobody_expects_is_logged_and_retried(
        self, storage: Storage, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken:
            left = 2

            async def send(self, mail: Mail) -> None:
                self.left -= 1
                if self.left >= 0:
                    raise ValueError(f"can't send to {mail.recipient}")

            async def close(self) -> None: ...

        operation = await invited(storage)
        async with at_work(make_worker(storage, Broken(), clock, AT_ONCE)):
            assert (await ended(storage, operation)).failure is None
        (broken,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert "builtins.ValueError" in broken.getMessage()
        assert re.search(r"test_worker_failures\.py.*in send", broken.getMessage())
        assert operation.id in broken.getMessage()
        assert "canary" not in caplog.text

    async def test_logs_hold_no_personal_data(
        self,
        storage: Storage,
        mail_server: MailServer,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.CRITICAL, "mail.log")  # the test's own mail server
        caplog.set_level(logging.DEBUG)
        text = "<canary@example.com> Canary LLC"
        mail_server.replies = {
            "MAIL": [f"450 {text}", OK, f"421 4.0.0 {text}"],
            "RCPT": [f"450 {text}", f"{text}"],
            "DATA": [f"451 {text}", f"554 5.0.0 {text}", f"554 5.1.1 {text}"],
        }
        operation = await invited(storage)
        async with at_work(make_worker(storage, mail_server.url, clock, AT_ONCE)):
            assert (await ended(storage, operation)).failure
            await ended(storage, await invited(storage))
        told = [getattr(each, "ids", {}).get("operation") for each in caplog.records]
        assert told.count(operation.id) == 6
        assert "anary" not in caplog.text
        (received,) = mail_server.received
        assert "/i/" in received.content.decode()
        assert "/i/" not in caplog.text
