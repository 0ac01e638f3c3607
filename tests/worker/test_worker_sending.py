"""An invitation's e-mail when all goes well."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from server.domain.operations import CANCELLED
from server.storage.interface import Storage
from server.worker.worker import WorkerSettings
from tests.worker.mail_server import MailServer
from tests.worker.office import (
    SETTINGS,
    START,
    Clock,
    at_work,
    customer_is_there,
    ended,
    invited,
    is_done,
    make_worker,
)


class TestSending:
    async def test_starts_at_once(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """With nothing but the storage's word to go by."""
        patient = replace(SETTINGS, longest_wait=timedelta(hours=1))
        async with at_work(make_worker(storage, mail_server.url, clock, patient)):
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
                cancelled = await storage.cancel_operation(operation.id, clock(), None)
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"parallel": 0},
        {"attempts": 0},
        {"send_within": timedelta()},
        {"send_within": timedelta(minutes=1), "lease": timedelta(minutes=1)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        WorkerSettings(**wrong)  # type: ignore[arg-type]
