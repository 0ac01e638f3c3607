"""Telling of webhooks that fail: an e-mail to who looks after it, and the operator's log."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from server.storage.interface import AlertKind, AlertStorage, WebhookAlert
from server.telemetry.failure_log import FailureLog
from server.worker.mail.alert_messages import AlertMessages
from server.worker.mail.mailer import Mailer, MailError, MailRefusedError
from server.worker.work import Record

_log = logging.getLogger(__name__)

# From the first failure to the end there are five days.
_LONGEST_AHEAD = timedelta(days=10)


class AlertMail:
    """The handler of what is to be told of webhooks that fail."""

    name = "alerts"

    def __init__(
        self,
        storage: AlertStorage,
        mailer: Mailer,
        messages: AlertMessages,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._mailer = mailer
        self._messages = messages
        self._now = now
        self._failures = FailureLog(_log)

    def id_of(self, work: WebhookAlert) -> str:
        return f"{work.kind} of {work.webhook_id}"

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[WebhookAlert]:
        return await self._storage.claim_webhook_alerts(
            *(limit, self._now(), lease, max(max_due_ahead, _LONGEST_AHEAD)),
            retries_first=retries_first,
        )

    async def wait_for_work(self, longest: timedelta) -> bool:
        await self._storage.wait_for_webhook_alerts(self._now(), longest)
        return False

    async def attempt(self, work: WebhookAlert) -> Record:
        if work.kind is AlertKind.DISABLED and work.attempt == 1:
            _log.error(
                "resellers/%s/webhooks/%s is disabled: %s The last try: %s",
                *(work.reseller_id, work.webhook_id, work.reason, work.error or "none"),
            )
        if work.email is not None:
            try:
                await self._mailer.send(self._messages.alert(work, work.email))
            except MailRefusedError as error:
                self._tell("alerts are refused for good", work, error)
        return lambda: self._storage.finish_webhook_alert(work, self._now())

    def put_off(self, work: WebhookAlert, error: Exception, next_try_at: datetime) -> Record:
        self._tell("alerts are not accepted and tried again", work, error)
        return lambda: self._storage.retry_webhook_alert(work, next_try_at)

    def give_up(self, work: WebhookAlert, error: Exception) -> Record:
        self._tell("alerts are given up", work, error)
        return lambda: self._storage.finish_webhook_alert(work, self._now())

    async def give_back(self, work: WebhookAlert) -> bool:
        return await self._storage.retry_webhook_alert(work, self._now())

    async def close(self) -> None:
        await self._mailer.close()

    def _tell(self, what: str, work: WebhookAlert, error: Exception) -> None:
        if isinstance(error, MailError):
            self._failures.tell(f"{what}: {error}", f"first {self.id_of(work)}")
        else:
            self._failures.tell_error(what, error, f"first {self.id_of(work)}")
