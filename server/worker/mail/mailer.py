"""An e-mail on its way out, and the two ways in which sending it can fail."""

from dataclasses import dataclass
from typing import Protocol

from server.domain.errors import Reason


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail ready to send. `content` is 7-bit but for a header with a non-ASCII `recipient`.

    `sender` is ASCII. `recipient` is ASCII too, its domain in A-labels, unless the part before the
    @ is not: then it needs SMTPUTF8 (RFC 6531).
    """

    sender: str
    recipient: str
    content: bytes

    @property
    def needs_smtputf8(self) -> bool:
        """Tells whether only a server with SMTPUTF8 can take this e-mail."""
        return not self.recipient.isascii()


class MailError(Exception):
    """An e-mail that was not accepted. Nothing here comes from the SMTP server's wording.

    `stage` is where it ended: connection, MAIL, RCPT, DATA. `code` is the SMTP reply, `status` the
    enhanced status code (RFC 3463), both where there were any. `detail` is for the log.
    """

    def __init__(
        self, stage: str, *, code: int | None = None, status: str | None = None, detail: str = ""
    ) -> None:
        self.reply = " ".join(str(part) for part in (code, status) if part)
        super().__init__(": ".join(part for part in (stage, self.reply, detail) if part))
        self.stage = stage
        self.code = code
        self.status = status


class MailRefusedError(MailError):
    """Refused for good: the same e-mail will not be accepted later. `reason` is for the caller."""

    def __init__(
        self,
        stage: str,
        reason: Reason = Reason.RECIPIENT_REFUSED,
        *,
        code: int | None = None,
        status: str | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(stage, code=code, status=status, detail=detail)
        self.reason = reason


class MailDelayedError(MailError):
    """Not accepted now, or not known to be: it may be later.

    `operators` tells that it will not be unless the operator mends something: the mail server
    refuses the sender, not the recipient. `problem` says what happened, for callers.
    """

    def __init__(
        self,
        stage: str,
        *,
        code: int | None = None,
        status: str | None = None,
        detail: str = "",
        problem: str = "the connection to the mail server was lost",
        operators: bool = False,
    ) -> None:
        super().__init__(stage, code=code, status=status, detail=detail)
        self.problem = f"the mail server said {self.reply}" if self.reply else problem
        self.operators = operators

    @property
    def may_have_arrived(self) -> bool:
        """Tells whether anything of the e-mail may have left, whatever the server said."""
        return self.stage not in ("connection", "MAIL", "RCPT")


class Mailer(Protocol):
    """Hands e-mails to a mail server."""

    async def send(self, mail: Mail) -> None:
        """Returns once the server has taken the e-mail.

        Sets no time limit of its own; a cancelled call leaves nothing behind.
        Raises MailRefusedError, MailDelayedError.
        """
        ...

    async def close(self) -> None:
        """Gives the connections back."""
        ...
