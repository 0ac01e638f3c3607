"""A worker at work: real storage, real SMTP, a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from server.domain.access import Actor
from server.domain.errors import BillingError, Reason
from server.domain.invitations import invite
from server.domain.operations import Operation
from server.storage.interface import Delivery, MailStorage, Storage
from server.worker.handlers.invitation_mail import InvitationMail
from server.worker.mail.mailer import Mailer
from server.worker.mail.messages import MessageBuilder
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.retry_policy import RetryPolicy
from server.worker.runner import Runner
from server.worker.settings import RunnerSettings
from tests.worker.mail_server import PATIENCE_S

RESELLER_ID = "bac00000000000000001"
RESELLER_NAME = "Acme Canary Cloud"
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG = timedelta(seconds=PATIENCE_S)
MINUTE = timedelta(minutes=1)
RETRY = RetryPolicy(
    first=timedelta(seconds=10),
    longest=timedelta(minutes=1),
    give_up_after=timedelta(minutes=3),
)
# Looks again so soon that a test may move the clock at any time.
SETTINGS = RunnerSettings(
    parallel=16,
    extra_slots=0,
    lease=timedelta(seconds=60),
    attempt_within=timedelta(seconds=30),
    retry=RETRY,
    longest_wait=timedelta(milliseconds=10),
)

# Gives up after the first try, and tries again at once.
ONCE = replace(SETTINGS, retry=replace(RETRY, give_up_after=timedelta()))
AT_ONCE = replace(SETTINGS, retry=replace(RETRY, first=timedelta()))


class RecordingStorage:
    """The storage, but calls are kept, and those named in `failing` fail so many times."""

    def __init__(
        self,
        storage: Storage,
        failing: dict[str, int] | None = None,
        error: Exception | None = None,
    ) -> None:
        self.storage = storage
        self.failing = failing or {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._error = error or BillingError(Reason.STORAGE_UNAVAILABLE, "away", retry_after_s=1)
        self._news = asyncio.Condition()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            try:
                if self.failing.get(name, 0) > 0:
                    self.failing[name] -= 1
                    raise self._error
                return await getattr(self._part(name), name)(*arguments, **named)
            finally:
                self.calls.append((name, arguments))
                async with self._news:
                    self._news.notify_all()

        return call

    def _part(self, name: str) -> object:
        """Returns the part of the storage that has a method."""
        parts = (self.storage.mail, self.storage.retention)
        return next(part for part in parts if hasattr(part, name))

    async def until(self, times: int, name: str) -> tuple[Any, ...]:
        """Returns the arguments of the latest call, once so many calls have ended."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self._called(name)) >= times)
        return self._called(name)[-1]

    def _called(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]


_numbers = count(1)


async def invited(
    storage: Storage,
    email: str = "canary@example.com",
    name: str = "Canary LLC",
    at: datetime = START,
) -> Operation:
    """Records an invitation, as an Invite does."""
    new = invite(
        reseller_id=RESELLER_ID,
        name=name,
        email=email,
        person={"tin": str(next(_numbers))},
        actor=Actor("aje00000000000000001"),
        now=at,
        lifetime=timedelta(days=30),
    )
    return await storage.invitations.create_invitation(new, None)


async def ended(storage: Storage, operation: Operation) -> Operation:
    """Returns the operation once it has ended."""
    after = await storage.waits.wait_operation(operation.id, LONG)
    assert after
    assert after.done
    return after


async def is_done(storage: Storage, operation: Operation) -> bool:
    now = await storage.operations.get_operation(operation.id)
    assert now
    return now.done


async def customer_is_there(storage: Storage, operation_id: str) -> bool:
    operation = await storage.operations.get_operation(operation_id)
    assert operation
    return await storage.customers.get_customer(operation.customer_id) is not None


def make_worker(
    storage: Storage | RecordingStorage,
    mail_url_or_mailer: str | Mailer,
    clock: Callable[[], datetime],
    settings: RunnerSettings = SETTINGS,
    jitter: float = 0.0,
) -> Runner[Delivery]:
    mailer: Mailer = (
        SmtpMailer(SmtpServer.from_url(mail_url_or_mailer), settings.parallel)
        if isinstance(mail_url_or_mailer, str)
        else mail_url_or_mailer
    )
    messages = MessageBuilder("Billing <billing@example.com>", "http://localhost:8080/i/", clock)
    parts = storage if isinstance(storage, RecordingStorage) else storage.mail
    handler = InvitationMail(cast("MailStorage", parts), mailer, messages, clock)
    return Runner(handler, clock, settings, lambda: jitter)


@asynccontextmanager
async def at_work(worker: Runner[Delivery]) -> AsyncIterator[Runner[Delivery]]:
    """Runs the worker, and stops it when the block ends."""
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop(LONG)
        await running
