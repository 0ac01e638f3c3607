"""What /metrics answers: made anew at most once a second, the database asked every few seconds."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus

from server.domain.errors import BillingError
from server.monitoring.endpoint import Answer
from server.storage.interface import Backlog, BacklogStorage
from server.telemetry import metrics

_log = logging.getLogger(__name__)

_FRESH_S = 1.0
# The database is asked so often at most, and never for more than a fiftieth of the time.
_BACKLOG_FRESH_S = 5.0
_REST = 50
# A database that does not answer keeps no scrape waiting for longer.
_BACKLOG_WITHIN_S = 1.0


class Scrapes:
    """Answers scrapes; however many come, they cost what one a second does."""

    def __init__(
        self,
        render: Callable[[], Awaitable[bytes]],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`render` makes the metrics; `now_s` counts seconds."""
        self._render = render
        self._now_s = now_s
        self._answer: Answer | None = None
        self._fresh_until_s = -math.inf
        self._making = asyncio.Lock()

    async def page(self) -> Answer:
        """Returns all metrics."""
        async with self._making:
            if self._answer is None or self._now_s() >= self._fresh_until_s:
                body = await self._render()
                self._answer = Answer(HTTPStatus.OK, metrics.CONTENT_TYPE, body)
                self._fresh_until_s = self._now_s() + _FRESH_S
            return self._answer


class BacklogMetrics:
    """Metrics of what waits to be sent, as the database knows it; the same in every process."""

    def __init__(
        self,
        storage: BacklogStorage,
        clock: Callable[[], datetime],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells the time, `now_s` counts seconds."""
        self._storage = storage
        self._clock = clock
        self._now_s = now_s
        self._known: Backlog | None = None
        self._asked_s = -math.inf
        self._fresh_until_s = -math.inf
        self._asking: asyncio.Task[None] | None = None
        self._register()

    async def render(self) -> bytes:
        """Returns all metrics; where the database does not answer, with what it said last."""
        if self._asking is None and self._now_s() >= self._fresh_until_s:
            self._asking = asyncio.create_task(self._ask())
        if self._asking:
            await asyncio.wait({self._asking}, timeout=_BACKLOG_WITHIN_S)
        return metrics.render()

    async def _ask(self) -> None:
        began = self._now_s()
        try:
            self._known = await self._storage.read_backlog()
            self._asked_s = began
        except BillingError as error:
            _log.debug("the backlog is not known: %s", error.reason)
        finally:
            now_s = self._now_s()
            self._fresh_until_s = now_s + max(_BACKLOG_FRESH_S, _REST * (now_s - began))
            self._asking = None

    def _register(self) -> None:
        def count(name: str, meaning: str, read: Callable[[Backlog], float]) -> None:
            metrics.gauge(
                name, meaning, (), lambda: {} if self._known is None else {(): read(self._known)}
            )

        metrics.gauge(
            "billing_mails_waiting",
            "E-mails of invitations that wait, new ones and those that are tried again; up to 10,000.",
            ["kind"],
            lambda: (
                {}
                if self._known is None
                else {("new",): self._known.mails, ("retried",): self._known.retried_mails}
            ),
        )
        count(
            "billing_mail_oldest_unsent_age_seconds",
            "How long the oldest unsent e-mail has waited; 0 without one.",
            lambda known: self._age_s(known.oldest_mail_at),
        )
        count(
            "billing_webhook_deliveries_waiting",
            "Events under way to webhooks; up to 10,000.",
            lambda known: known.deliveries,
        )
        count(
            "billing_event_oldest_undelivered_age_seconds",
            "How long the oldest event has waited for an enabled webhook that does not fail; 0 without one.",
            lambda known: self._age_s(known.oldest_event_at),
        )
        count(
            "billing_webhooks_failing",
            "Enabled webhooks whose latest deliveries have all failed; up to 10,000.",
            lambda known: known.failing_webhooks,
        )
        count(
            "billing_backlog_read_age_seconds",
            "How old what the database said of what waits is; it grows while that is away.",
            lambda _: self._now_s() - self._asked_s,
        )

    def _age_s(self, since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (self._clock() - since).total_seconds())
