"""`mail status`: how many e-mails wait, since when, for which server, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from server.composition.mail import mail_settings
from server.composition.storage import opened_storage
from server.config import Settings
from server.database_commands import database_errors
from server.storage.interface import Backlog, MailProblem

_MOST_PROBLEMS = 10


class MailStatus(NamedTuple):
    """What waits for the mail server, `server`, which is host:port."""

    backlog: Backlog
    problems: Sequence[MailProblem]
    server: str
    at: datetime

    def as_json(self) -> dict[str, Any]:
        """Returns it for programs."""
        backlog = self.backlog
        last = self._last()
        return {
            "waiting": backlog.mails + backlog.retried_mails,
            "new": backlog.mails,
            "retried": backlog.retried_mails,
            "oldestAt": _time(backlog.oldest_mail_at),
            "heldSince": _time(backlog.mail_held_since),
            "servers": [self.server],
            "lastError": last.problem if last else None,
            "lastErrorAt": _time(last.latest_at) if last else None,
            "errors": [
                {"error": each.problem, "mails": each.mails, "latestAt": _time(each.latest_at)}
                for each in self.problems
            ],
        }

    def lines(self) -> list[str]:
        """Returns it for people."""
        backlog, last = self.backlog, self._last()
        waiting = backlog.mails + backlog.retried_mails
        mails = "1 e-mail" if waiting == 1 else f"{waiting:,} e-mails"
        lines = [f"waiting:    {mails}, {backlog.retried_mails:,} of them tried before"]
        if backlog.oldest_mail_at:
            age = _in_words(self.at - backlog.oldest_mail_at)
            lines.append(f"since:      {_time(backlog.oldest_mail_at)}, {age}")
        if backlog.mail_held_since:
            lines.append(
                f"held:       since {_time(backlog.mail_held_since)}; "
                "`billing-server mail resume` has them go out"
            )
        lines.append(f"for:        {self.server}")
        if last:
            lines.append(f"last error: {last.problem}, at {_time(last.latest_at)}")
        if len(self.problems) > 1:
            lines.append("errors:")
            lines += [f"{each.mails:9,}  {each.problem}" for each in self.problems[:_MOST_PROBLEMS]]
        return lines

    def _last(self) -> MailProblem | None:
        return max(self.problems, key=lambda each: each.latest_at, default=None)


async def mail_status(settings: Settings, at: datetime, server: str = "") -> MailStatus:
    """Reads it as of now; raises SettingsError. `server` is host:port, by default that of the settings."""
    smtp, _ = mail_settings(settings)
    async with opened_storage(settings) as storage:
        with database_errors():
            backlog = await storage.backlog.read_backlog()
            problems = await storage.backlog.read_mail_problems()
    return MailStatus(backlog, problems, server or f"{smtp.host}:{smtp.port}", at)


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _in_words(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
