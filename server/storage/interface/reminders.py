"""E-mails that remind invitees of invitations."""

from datetime import datetime, timedelta
from typing import Protocol

from server.domain.bounces import BounceReport
from server.storage.interface.work import MAX_DUE_AHEAD, Delivery


class ReminderStorage(Protocol):
    """Gives reminders to workers. They are made as time passes, see RetentionStorage."""

    async def claim_reminders(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[Delivery]:
        """Claims reminders that are due, as MailStorage.claim_deliveries claims e-mails.

        Those of invitations that were answered, ended, came back or are suppressed meanwhile are
        forgotten. The link in a reminder holds beside those sent before. Its `number` is the customer's.
        """
        ...

    async def finish_reminder(self, delivery: Delivery, now: datetime) -> bool:
        """Records that the e-mail went out, with an event. False: overtaken."""
        ...

    async def fail_reminder(
        self, delivery: Delivery, now: datetime, report: BounceReport | None = None
    ) -> bool:
        """Gives the reminder up; with a report, the invitation's e-mail came back. False: overtaken."""
        ...

    async def retry_reminder(self, delivery: Delivery, due_at: datetime, now: datetime) -> bool:
        """Gives the claim up until `due_at`. False: overtaken."""
        ...

    async def wait_for_reminders(self, now: datetime, longest: timedelta) -> None:
        """Returns when a reminder may be due, or after the longest time."""
        ...
