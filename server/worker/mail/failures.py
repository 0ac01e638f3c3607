"""What an operation's end says of an e-mail that could not be sent."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from server.domain.errors import Reason
from server.domain.operations import Failure
from server.storage.interface import Delivery
from server.worker.mail.mailer import MailDelayedError, MailError, MailRefusedError

_REFUSALS: Mapping[Reason, str] = {
    Reason.RECIPIENT_REFUSED: (
        "The mail server refused the address for good; check invitation_email and invite again."
    ),
    Reason.SMTPUTF8_MISSING: (
        "The mail server can't deliver to addresses with non-ASCII characters before the @;"
        " invite again with an invitation_email whose part before the @ is ASCII."
    ),
}


def refused(error: MailRefusedError) -> Failure:
    """Returns how an operation ends whose e-mail was refused for good."""
    return Failure(error.reason, _REFUSALS[error.reason], _smtp_metadata(error))


def undelivered(delivery: Delivery, error: MailDelayedError, now: datetime) -> Failure:
    """Returns how an operation ends whose e-mail is given up."""
    within = _in_words(now - delivery.requested_at)
    return Failure(
        Reason.MAIL_UNDELIVERED,
        f"The e-mail could not be delivered in {delivery.attempt} attempts within {within};"
        f" at the last one {error.problem}. Invite again later.",
        {"attempts": str(delivery.attempt), **_smtp_metadata(error)},
    )


def _in_words(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours >= 1.5 else f"{time / timedelta(minutes=1):.0f} minutes"


def _smtp_metadata(error: MailError) -> dict[str, str]:
    reply = {"smtpCode": error.code, "smtpStatus": error.status}
    return {key: str(value) for key, value in reply.items() if value is not None}
