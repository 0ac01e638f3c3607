"""An invitation that is cancelled before, during and after its e-mail is sent."""

import asyncio
from typing import Any

import pytest

from server.domain.operations import CANCELLED
from server.storage.interface import Delivery, Storage
from tests.clock import Clock
from tests.storage.records import ACTOR
from tests.worker.harness import (
    MINUTE,
    RecordingStorage,
    at_work,
    customer_is_there,
    ended,
    invited,
    make_worker,
)
from tests.worker.mail_server import MailServer


class TestCancelling:
    async def test_before_sending_sends_nothing(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        operation = await invited(storage)
        cancelled = await storage.operations.cancel_operation(operation.id, clock(), ACTOR, None)
        assert cancelled
        assert cancelled.failure == CANCELLED
        async with at_work(make_worker(storage, mail_server.url, clock)):
            other = await ended(storage, await invited(storage))
        (received,) = mail_server.received
        assert other.id in received.message["Message-ID"]

    async def test_while_sending_lets_it_finish(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.gates["DATA"] = asyncio.Event()
        operation = await invited(storage)
        async with at_work(make_worker(storage, mail_server.url, clock)):
            await mail_server.until(1, "DATA")
            marked = await storage.operations.cancel_operation(operation.id, clock(), ACTOR, None)
            assert marked
            assert not marked.done
            mail_server.gates["DATA"].set()
            assert (await ended(storage, operation)).failure is None
        assert await customer_is_there(storage, operation.id)

    @pytest.mark.parametrize("reply", ["450 later", "550 never"])
    async def test_while_sending_what_fails_ends_it(
        self, storage: Storage, mail_server: MailServer, clock: Clock, reply: str
    ) -> None:
        mail_server.gates["RCPT"] = asyncio.Event()
        mail_server.replies["RCPT"] = [reply]
        operation = await invited(storage)
        async with at_work(make_worker(storage, mail_server.url, clock)):
            await mail_server.until(1, "RCPT")
            await storage.operations.cancel_operation(operation.id, clock(), ACTOR, None)
            mail_server.gates["RCPT"].set()
            assert (await ended(storage, operation)).failure == CANCELLED
        assert not mail_server.received
        assert not await customer_is_there(storage, operation.id)

    async def test_between_attempts_ends_it(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        mail_server.replies["RCPT"] = ["450 later"]
        recording = RecordingStorage(storage)
        operation = await invited(storage)
        async with at_work(make_worker(recording, mail_server.url, clock)):
            await recording.until(1, "retry_delivery")
        cancelled = await storage.operations.cancel_operation(operation.id, clock(), ACTOR, None)
        assert cancelled
        assert cancelled.failure == CANCELLED
        clock.advance(MINUTE)
        async with at_work(make_worker(storage, mail_server.url, clock)):
            await ended(storage, await invited(storage))
        assert len(mail_server.received) == 1

    async def test_after_sending_changes_nothing(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        async with at_work(make_worker(storage, mail_server.url, clock)):
            operation = await ended(storage, await invited(storage))
        assert (
            await storage.operations.cancel_operation(operation.id, clock(), ACTOR, None)
            == operation
        )

    async def test_a_claim_that_was_cancelled_before_is_given_up(
        self, storage: Storage, mail_server: MailServer, clock: Clock
    ) -> None:
        """A storage may hand out what was marked while an earlier claim ran."""

        class Marking(RecordingStorage):
            async def claim_deliveries(self, *arguments: Any, **named: Any) -> list[Delivery]:
                claimed = await self.storage.mail.claim_deliveries(*arguments, **named)
                for delivery in claimed:
                    await self.storage.operations.cancel_operation(
                        delivery.operation_id, clock(), ACTOR, None
                    )
                return [delivery._replace(cancel_requested=True) for delivery in claimed]

        operation = await invited(storage)
        async with at_work(make_worker(Marking(storage), mail_server.url, clock)):
            assert (await ended(storage, operation)).failure == CANCELLED
        assert not mail_server.commands
