"""Deliveries to webhooks: how each is posted, and what the receiver's answer means."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus

from server.storage.interface import DeliveryAttempt, DeliveryStorage, WebhookDelivery
from server.telemetry.budget import Budget
from server.telemetry.failure_log import FailureLog
from server.telemetry.logs import tell
from server.telemetry.metrics import DELIVERIES, DELIVERY_TIMES
from server.telemetry.traces import TRACES
from server.worker.webhooks.cloud_events import CloudEvents
from server.worker.webhooks.sender import Outcome, Sender
from server.worker.webhooks.signing import signed_headers
from server.worker.work import Record

_log = logging.getLogger(__name__)

# By these a receiver says that it has too much to do, and not only with this event.
_OVERLOADED = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
)
# Then nothing is sent to it: four times as long after each try, up to the longest.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
# Retry-After may be a day.
_LONGEST_AHEAD = timedelta(days=3)


class DeliveryFailedError(Exception):
    """A try that failed and may go better later."""

    def __init__(self, at: datetime, outcome: Outcome) -> None:
        super().__init__(outcome.error or f"HTTP {outcome.status}")
        self.at = at
        self.outcome = outcome


class WebhookDeliveries:
    """The handler of deliveries to webhooks.

    An event goes out at least once: after a crash between its acceptance and the record it is sent
    again, with the same ID.
    """

    name = "deliveries"

    def __init__(
        self,
        storage: DeliveryStorage,
        sender: Sender,
        bodies: CloudEvents,
        now: Callable[[], datetime],
        signing_now: Callable[[], datetime] | None = None,
    ) -> None:
        """`signing_now` is the time that signatures bear, `now` unless given."""
        self._storage = storage
        self._sender = sender
        self._bodies = bodies
        self._now = now
        self._signing_now = signing_now or now
        self._failures = FailureLog(_log)
        # Where a receiver is away all that wait fail again and again, which the failures' lines tell.
        self._put_off = Budget()

    def id_of(self, work: WebhookDelivery) -> str:
        return f"{work.event.id} for {work.webhook_id}"

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[WebhookDelivery]:
        return await self._storage.claim_webhook_deliveries(
            *(limit, self._now(), lease, max(max_due_ahead, _LONGEST_AHEAD)),
            retries_first=retries_first,
        )

    async def wait_for_work(self, longest: timedelta) -> bool:
        return await self._storage.wait_for_webhook_deliveries(self._now(), longest)

    async def attempt(self, work: WebhookDelivery) -> Record:
        at = self._now()
        ids = {"webhook": work.webhook_id, "event": work.event.id}
        with TRACES.span("deliver event", work.event.traceparent, **ids):
            outcome = await self._posted(work)
            DELIVERIES.labels("delivered" if outcome.succeeded else "failed").inc()
            DELIVERY_TIMES.observe(outcome.took.total_seconds())
            if not outcome.succeeded and outcome.status != HTTPStatus.GONE:
                raise DeliveryFailedError(at, outcome)
        tried = _tried(at, outcome)
        if not outcome.succeeded:
            _tell(work, logging.WARNING, "event not delivered, and its webhook disabled: HTTP 410")
            return lambda: self._storage.fail_webhook_delivery(work, tried, disable=True)
        _tell(work, logging.INFO, "event delivered")
        pause = self._pause(outcome)
        return lambda: self._storage.finish_webhook_delivery(work, tried, pause)

    async def _posted(self, work: WebhookDelivery) -> Outcome:
        body = self._bodies.body(work.event)
        headers = signed_headers(work.secrets, work.event.id, self._signing_now(), body)
        headers["content-type"] = work.content_type.value
        return await self._sender.post(work.url, headers, body.encode())

    def put_off(self, work: WebhookDelivery, error: Exception, next_try_at: datetime) -> Record:
        failed = self._failed(work, error)
        if self._put_off.take():
            _tell(work, logging.INFO, f"event not delivered yet: {failed}")
        tried = _tried(failed.at, failed.outcome)
        pause = self._pause(failed.outcome, work.tries)
        due_at = next_try_at if pause is None else max(next_try_at, pause)
        return lambda: self._storage.retry_webhook_delivery(work, tried, due_at, pause)

    def give_up(self, work: WebhookDelivery, error: Exception) -> Record:
        failed = self._failed(work, error)
        _tell(work, logging.WARNING, f"event given up: {failed}")
        tried = _tried(failed.at, failed.outcome)
        pause = self._pause(failed.outcome, work.tries)
        return lambda: self._storage.fail_webhook_delivery(work, tried, pause)

    async def give_back(self, work: WebhookDelivery) -> bool:
        return await self._storage.retry_webhook_delivery(work, None, self._now())

    async def close(self) -> None:
        await self._sender.close()

    def _pause(self, outcome: Outcome, tries: int = 0) -> datetime | None:
        """Returns until when the receiver asks to be left alone, or is overloaded."""
        if outcome.retry_after:
            return self._now() + outcome.retry_after
        if outcome.status not in _OVERLOADED:
            return None
        pause_s = min(_FIRST_PAUSE_S * 4.0 ** min(tries, 8), _LONGEST_PAUSE_S)
        return self._now() + timedelta(seconds=pause_s)

    def _failed(self, work: WebhookDelivery, error: Exception) -> DeliveryFailedError:
        """Returns what is to be recorded of a try that failed."""
        if isinstance(error, DeliveryFailedError):
            self._failures.tell(
                f"deliveries are not taken and tried again: {error}",
                f"first {self.id_of(work)}",
                logging.INFO,
            )
            return error
        if isinstance(error, TimeoutError):
            problem = "no whole answer in time"
        else:
            what = "sending deliveries broke"
            self._failures.tell_error(what, error, f"first {self.id_of(work)}")
            problem = "the service failed; its operator's log says how"
        return DeliveryFailedError(self._now(), Outcome(None, problem, timedelta()))


def _tell(work: WebhookDelivery, level: int, text: str) -> None:
    """Logs what became of a try."""
    event = work.event
    tell(
        *(_log, level, f"{text}, attempt {work.tries + 1}"),
        request=event.actor.request_id,
        operation=event.operation_id,
        invitation=event.invitation_id,
        customer=event.customer_id,
        reseller=event.reseller_id,
        webhook=work.webhook_id,
        event=event.id,
    )


def _tried(at: datetime, outcome: Outcome) -> DeliveryAttempt:
    return DeliveryAttempt(at, outcome.took, outcome.status, outcome.error)
