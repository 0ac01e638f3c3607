"""A worker that delivers to a receiver which does as it is told, and time that a test moves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web

from server.domain.events import Event
from server.storage.interface import WebhookAlert, WebhookDelivery
from server.storage.storage import SqlStorage
from server.worker.handlers.alert_mail import AlertMail
from server.worker.handlers.webhook_deliveries import WebhookDeliveries
from server.worker.mail.alert_messages import AlertMessages
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from server.worker.retry_policy import RetryPolicy, RetrySchedule
from server.worker.runner import Runner
from server.worker.settings import RunnerSettings
from server.worker.webhooks.cloud_events import CloudEvents
from server.worker.webhooks.sender import Sender
from tests.clock import Clock
from tests.worker.mail_server import PATIENCE_S, MailServer

ADDRESS = "https://billing.example"
# Looks again so soon that a test may move the clock at any time.
SETTINGS = RunnerSettings(
    parallel=16,
    extra_slots=16,
    lease=timedelta(seconds=60),
    attempt_within=timedelta(seconds=30),
    retry=RetrySchedule(),
    longest_wait=timedelta(milliseconds=10),
)


def shown(event: Event) -> dict[str, Any]:
    """Stands for the JSON that the API shows."""
    name = f"resellers/{event.reseller_id}/events/{event.id}"
    customer = f"resellers/{event.reseller_id}/customers/{event.customer_id}"
    return {
        "name": name,
        "type": event.type.value,
        "createTime": event.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "customer": customer if event.customer_id else "",
        "data": {"name": "Рога и копыта"},
    }


@dataclass
class Receiver:
    """Keeps what it is sent, and answers with the statuses in `answers`, then with 200."""

    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        async with self.news:
            self.got.append(({k.lower(): v for k, v in request.headers.items()}, body))
            self.news.notify_all()
        if self.gate:
            await self.gate.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers=self.headers)

    async def until(self, times: int) -> None:
        """Returns once it has been sent so many deliveries."""
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: len(self.got) >= times)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events, as they came."""
        return [int(json.loads(body)["sequence"]) for _, body in self.got]


@asynccontextmanager
async def delivering(
    storage: SqlStorage, clock: Clock, settings: RunnerSettings = SETTINGS
) -> AsyncIterator[Runner[WebhookDelivery]]:
    """Runs a worker that delivers, to this machine too, and stops it when the block ends."""
    bodies = CloudEvents(ADDRESS, shown)
    sender = Sender(private_allowed=True)
    handler = WebhookDeliveries(storage.deliveries, sender, bodies, clock)
    async with _running(Runner(handler, clock, settings, lambda: 0.5)) as runner:
        yield runner


@asynccontextmanager
async def alerting(
    storage: SqlStorage, clock: Clock, server: MailServer
) -> AsyncIterator[Runner[WebhookAlert]]:
    """Runs a worker that tells of webhooks that fail."""
    mailer = SmtpMailer(SmtpServer.from_url(server.url), 1)
    messages = AlertMessages("Billing <billing@example.com>", clock, languages=["en", "ru"])
    handler = AlertMail(storage.alerts, mailer, messages, clock)
    settings = RunnerSettings(
        retry=RetryPolicy(give_up_after=timedelta(days=1)), longest_wait=timedelta(milliseconds=10)
    )
    async with _running(Runner(handler, clock, settings, lambda: 0.0)) as runner:
        yield runner


@asynccontextmanager
async def _running(runner: Runner[Any]) -> AsyncIterator[Runner[Any]]:
    running = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        await runner.stop(timedelta(seconds=PATIENCE_S))
        await running
