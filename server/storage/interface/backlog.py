"""What waits to be sent, for those who watch over the service."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class Backlog(NamedTuple):
    """E-mails of invitations, and events, that have not gone out.

    mails: how many wait for their first try or while it runs; retried_mails: how many have failed and
        are tried again. Each counts up to 10,000. Those of held resellers are not among them.
    oldest_mail_at: when the oldest of all of them was asked for.
    deliveries: events under way to webhooks, up to 10,000.
    oldest_event_at: when the oldest event happened that an enabled webhook which does not fail has not got.
    failing_webhooks: enabled webhooks whose latest deliveries have all failed, up to 10,000.
    mail_held_since: since when an operator holds all e-mails; None: they go out.
    """

    mails: int = 0
    retried_mails: int = 0
    oldest_mail_at: datetime | None = None
    deliveries: int = 0
    oldest_event_at: datetime | None = None
    failing_webhooks: int = 0
    mail_held_since: datetime | None = None


class MailProblem(NamedTuple):
    """Why e-mails were not taken when they were last tried: how many, and when the latest was.

    Counts up to 10,000 of all problems.
    """

    problem: str
    mails: int
    latest_at: datetime


class BacklogStorage(Protocol):
    """Tells how much waits to be sent."""

    async def read_backlog(self) -> Backlog:
        """Returns what waits now; takes milliseconds, however much that is."""
        ...

    async def read_mail_problems(self) -> Sequence[MailProblem]:
        """Returns why e-mails are tried again, the most frequent first."""
        ...
