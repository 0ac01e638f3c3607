"""E-mails of invitations: how each is made and sent, and what its outcome means."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from server.domain.limits import SPREAD_BY
from server.domain.operations import Deferral
from server.storage.interface import Delivery, MailStorage
from server.telemetry.budget import Budget
from server.telemetry.failure_log import FailureLog
from server.telemetry.logs import tell
from server.telemetry.metrics import MAIL_TIMES, MAIL_WAITS, MAILS
from server.telemetry.origins import parts
from server.telemetry.traces import TRACES
from server.worker.mail.failures import refused, undelivered
from server.worker.mail.mailer import MailDelayedError, Mailer, MailError, MailRefusedError
from server.worker.mail.messages import MessageBuilder
from server.worker.work import Record

_log = logging.getLogger(__name__)

_LOG_IN_ADVICE = "check BILLING_SMTP_URL, and whether the server takes mail from here"
_SENDER_ADVICE = "check its policy, BILLING_MAIL_FROM, and SPF, DKIM and DMARC of its domain"


class InvitationMail:
    """The handler of invitations' e-mails.

    An e-mail goes out at least once: after a crash between its acceptance and the record it is
    sent again, with the same Message-ID.
    """

    name = "e-mails"

    def __init__(
        self,
        storage: MailStorage,
        mailer: Mailer,
        messages: MessageBuilder,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._mailer = mailer
        self._messages = messages
        self._now = now
        self._failures = FailureLog(_log)
        # In an outage all that wait fail again and again, which the failures' own lines tell.
        self._put_off = Budget()

    def id_of(self, work: Delivery) -> str:
        return work.operation_id

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[Delivery]:
        # Those over a limit of e-mails are spread over hours.
        max_due_ahead = max(max_due_ahead, 2 * SPREAD_BY)
        return await self._storage.claim_deliveries(
            limit, self._now(), lease, max_due_ahead, retries_first=retries_first
        )

    async def wait_for_work(self, longest: timedelta) -> bool:
        await self._storage.wait_for_work(self._now(), longest)
        return False

    async def attempt(self, work: Delivery) -> Record:
        if work.cancel_requested:
            return lambda: self.give_back(work)
        try:
            traceparent = parts(work.origin)[1]
            with (
                MAIL_TIMES.time(),
                TRACES.span("send e-mail", traceparent, operation=work.operation_id),
            ):
                await self._mailer.send(self._messages.invitation(work))
        except MailRefusedError as error:
            MAILS.labels("refused").inc()
            _tell_outcome(work, logging.WARNING, f"e-mail refused for good: {error}")
            failure = refused(error)
            return lambda: self._storage.fail_delivery(work, failure, self._now())
        MAILS.labels("sent").inc()
        _tell_outcome(work, logging.INFO, "e-mail sent")
        MAIL_WAITS.observe((self._now() - work.requested_at).total_seconds())
        return lambda: self._storage.finish_delivery(work, self._now())

    def put_off(self, work: Delivery, error: Exception, next_try_at: datetime) -> Record:
        MAILS.labels("put_off").inc()
        delayed = self._delayed(work, error)
        if delayed.operators:
            advice = _LOG_IN_ADVICE if delayed.stage == "connection" else _SENDER_ADVICE
            what = f"the mail server refuses this service; {advice}"
            self._tell(what, delayed, work, logging.ERROR)
        else:
            self._tell("e-mails are not accepted and tried again", delayed, work)
        if self._put_off.take():
            _tell_outcome(work, logging.INFO, f"e-mail not sent yet: {delayed}")
        # At its end the invitation expires, which ends the operation too.
        due_at = min(next_try_at, work.expires_at)
        deferral = Deferral(work.attempt, delayed.problem, due_at, delayed.code, delayed.status)
        return lambda: self._storage.retry_delivery(
            work, due_at, self._now(), deferral, keep_link=delayed.may_have_arrived
        )

    def give_up(self, work: Delivery, error: Exception) -> Record:
        MAILS.labels("given_up").inc()
        delayed = self._delayed(work, error)
        _tell_outcome(work, logging.WARNING, f"e-mail given up: {delayed}")
        failure = undelivered(work, delayed, self._now())
        return lambda: self._storage.fail_delivery(work, failure, self._now())

    async def give_back(self, work: Delivery) -> bool:
        return await self._storage.retry_delivery(work, self._now(), self._now())

    async def close(self) -> None:
        await self._mailer.close()

    def _delayed(self, work: Delivery, error: Exception) -> MailDelayedError:
        """Returns what the operation is to tell of an attempt that failed."""
        if isinstance(error, MailDelayedError):
            return error
        if isinstance(error, TimeoutError):
            slow = "the mail server did not answer in time"
            return MailDelayedError("time limit", problem=slow)
        self._failures.tell_error("sending e-mails broke", error, f"first {work.operation_id}")
        broken = "the service failed; its operator's log says how"
        return MailDelayedError("unexpected", problem=broken)

    def _tell(
        self, what: str, error: MailError, work: Delivery, level: int = logging.WARNING
    ) -> None:
        first = f"first {work.operation_id}, attempt {work.attempt}"
        self._failures.tell(f"{what}: {error}", first, level)


def _tell_outcome(work: Delivery, level: int, text: str) -> None:
    """Logs what became of an attempt."""
    if _log.isEnabledFor(level):
        request_id, _ = parts(work.origin)
        tell(
            *(_log, level, f"{text}, attempt {work.attempt}"),
            request=request_id,
            operation=work.operation_id,
            invitation=work.invitation_id,
            customer=work.customer_id,
            reseller=work.reseller_id,
        )
