"""Reminders of invitations: how each is sent, and what its outcome means."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from server.domain.bounces import BounceReport
from server.domain.errors import Reason
from server.storage.interface import Delivery, ReminderStorage
from server.telemetry.failure_log import FailureLog
from server.telemetry.logs import tell
from server.worker.mail.mailer import Mailer, MailError, MailRefusedError
from server.worker.mail.messages import MessageBuilder
from server.worker.work import Record

_log = logging.getLogger(__name__)


class ReminderMail:
    """The handler of reminders; each goes out at least once, as invitations do."""

    name = "reminders"

    def __init__(
        self,
        storage: ReminderStorage,
        mailer: Mailer,
        messages: MessageBuilder,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._mailer = mailer
        self._messages = messages
        self._now = now
        self._failures = FailureLog(_log)

    def id_of(self, work: Delivery) -> str:
        return work.invitation_id

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[Delivery]:
        return await self._storage.claim_reminders(
            limit, self._now(), lease, max_due_ahead, retries_first=retries_first
        )

    async def wait_for_work(self, longest: timedelta) -> bool:
        await self._storage.wait_for_reminders(self._now(), longest)
        return False

    async def attempt(self, work: Delivery) -> Record:
        try:
            await self._mailer.send(self._messages.invitation(work))
        except MailRefusedError as error:
            _tell_outcome(work, logging.WARNING, f"reminder refused for good: {error}")
            report = BounceReport(
                came_back=True,
                about_recipient=error.reason is Reason.RECIPIENT_REFUSED,
                smtp_code=error.code,
                status=error.status,
            )
            return lambda: self._storage.fail_reminder(work, self._now(), report)
        _tell_outcome(work, logging.INFO, "reminder sent")
        return lambda: self._storage.finish_reminder(work, self._now())

    def put_off(self, work: Delivery, error: Exception, next_try_at: datetime) -> Record:
        self._tell("reminders are not accepted and tried again", work, error)
        return lambda: self._storage.retry_reminder(work, next_try_at, self._now())

    def give_up(self, work: Delivery, error: Exception) -> Record:
        self._tell("reminders are given up", work, error)
        _tell_outcome(work, logging.WARNING, "reminder given up")
        return lambda: self._storage.fail_reminder(work, self._now())

    async def give_back(self, work: Delivery) -> bool:
        return await self._storage.retry_reminder(work, self._now(), self._now())

    async def close(self) -> None:
        await self._mailer.close()

    def _tell(self, what: str, work: Delivery, error: Exception) -> None:
        if isinstance(error, MailError):
            self._failures.tell(f"{what}: {error}", f"first {work.invitation_id}")
        else:
            self._failures.tell_error(what, error, f"first {work.invitation_id}")


def _tell_outcome(work: Delivery, level: int, text: str) -> None:
    """Logs what became of a reminder."""
    tell(
        *(_log, level, f"{text}, attempt {work.attempt}"),
        operation=work.first_operation_id,
        invitation=work.invitation_id,
        customer=work.customer_id,
        reseller=work.reseller_id,
    )
