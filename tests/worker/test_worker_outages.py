"""A storage that comes and goes, and workers that are stopped."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from server.storage.interface import Storage
from tests.clock import Clock
from tests.worker.harness import (
    LONG,
    MINUTE,
    SETTINGS,
    RecordingStorage,
    at_work,
    customer_is_there,
    ended,
    invited,
    is_done,
    make_worker,
)
from tests.worker.mail_server import MailServer


class TestStorageOutages:
    async def test_outcomes_are_recorded_when_it_is_back(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        recording = RecordingStorage(storage, {"finish_delivery": 3})
        operation = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            assert (await ended(storage, operation)).failure is None
        assert len(mail_server.received) == 1

    @pytest.mark.parametrize("error", [None, RuntimeError("canary")])
    async def test_claims_and_waits_go_on_when_it_is_back(
        self,
        storage: Storage,
        mail_server: MailServer,
        clock: Clock,
        error: Exception | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        recording = RecordingStorage(storage, {"claim_deliveries": 2, "wait_for_work": 2}, error)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            operation = await invited(storage)
            assert (await ended(storage, operation)).failure is None
        assert "claiming e-mails failed" in caplog.text
        assert "canary" not in caplog.text

    async def test_work_that_nobody_can_claim_makes_no_haste(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """Told of work for ever and finding none, the worker does not run hot."""

        class AlwaysReadyStorage(RecordingStorage):
            async def wait_for_work(self, *arguments: object) -> None:
                self.calls.append(("wait_for_work", arguments))

        always_ready = AlwaysReadyStorage(storage)
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        async with at_work(make_worker(always_ready, mail_server.url, clock)):
            await always_ready.until(5, "claim_deliveries")
            assert loop.time() - started_at > 0.4
            assert (await ended(storage, await invited(storage))).failure is None

    async def test_what_can_not_be_recorded_in_time_is_sent_again(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        recording = RecordingStorage(storage, {"finish_delivery": 10**9})
        operation = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            await mail_server.until(1)
            clock.advance(MINUTE)  # the lease is over
            await mail_server.until(2)
            recording.failing.clear()
            assert (await ended(storage, operation)).failure is None
        first, second = (received.message["Message-ID"] for received in mail_server.received)
        assert first == second

    async def test_nothing_is_recorded_past_the_lease(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        recording = RecordingStorage(storage, {"finish_delivery": 10**9})
        await invited(storage)
        worker = make_worker(recording, mail_server.url, clock)
        running = asyncio.create_task(worker.run())
        await recording.until(2, "finish_delivery")
        stopping = asyncio.create_task(worker.stop(LONG))
        await running
        clock.advance(MINUTE)
        await stopping
        assert "retry_delivery" not in [
            name for name, _ in recording.calls
        ]  # none was left to give up

    async def test_an_overtaken_worker_records_nothing(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """Its lease is over, another has sent the e-mail, and then its own send is refused."""
        gate = mail_server.gates["RCPT"] = asyncio.Event()
        mail_server.replies["RCPT"] = ["550 no"]
        operation = await invited(storage)
        recording = RecordingStorage(storage)
        slow = make_worker(recording, mail_server.url, clock, replace(SETTINGS, parallel=1))
        async with at_work(slow):
            await mail_server.until(1, "RCPT")
            del mail_server.gates["RCPT"]
            refusal = mail_server.replies.pop("RCPT")
            clock.advance(MINUTE)
            async with at_work(make_worker(storage, mail_server.url, clock)):
                assert (await ended(storage, operation)).failure is None
            mail_server.replies["RCPT"] = refusal
            gate.set()
            await recording.until(1, "fail_delivery")
        assert (await ended(storage, operation)).failure is None
        assert await customer_is_there(storage, operation.id)


class TestStopping:
    async def test_lets_what_is_being_sent_finish(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["DATA"] = asyncio.Event()
        operations = [await invited(storage) for _ in range(3)]
        worker = make_worker(storage, mail_server.url, clock, replace(SETTINGS, parallel=1))
        running = asyncio.create_task(worker.run())
        await mail_server.until(1, "DATA")
        stopping = asyncio.create_task(worker.stop(MINUTE))
        await running
        assert not stopping.done()
        mail_server.gates["DATA"].set()
        await stopping
        assert [await is_done(storage, each) for each in operations].count(True) == 1
        assert len(mail_server.received) == 1

    async def test_gives_back_what_takes_too_long(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["DATA"] = asyncio.Event()
        operation = await invited(storage)
        worker = make_worker(storage, mail_server.url, clock)
        running = asyncio.create_task(worker.run())
        await mail_server.until(1, "DATA")
        await worker.stop(timedelta())
        await running
        del mail_server.gates["DATA"]
        async with at_work(make_worker(storage, mail_server.url, clock)):
            assert (await ended(storage, operation)).failure is None

    async def test_does_not_wait_for_the_storage(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        recording = RecordingStorage(storage, {"claim_deliveries": 10**9})
        settings = replace(SETTINGS, longest_wait=timedelta(hours=1))
        for each in (recording, RecordingStorage(storage)):
            worker = make_worker(each, mail_server.url, clock, settings)
            running = asyncio.create_task(worker.run())
            await each.until(1, "claim_deliveries")
            await worker.stop(timedelta())
            await running

    async def test_survives_a_storage_that_is_away(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["DATA"] = asyncio.Event()
        recording = RecordingStorage(storage, {"retry_delivery": 1})
        await invited(storage)
        worker = make_worker(recording, mail_server.url, clock)
        running = asyncio.create_task(worker.run())
        await mail_server.until(1, "DATA")
        await worker.stop(timedelta())
        await running
        assert recording.failing["retry_delivery"] == 0
