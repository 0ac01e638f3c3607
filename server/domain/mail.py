"""E-mails of invitations: how each stands, and what went wrong, in words for people."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from server.domain.operations import Deferral


class DeliveryState(StrEnum):
    """Where an invitation's latest e-mail stands."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    SENT = "sent"
    # It came back: the address takes no e-mail.
    BOUNCED = "bounced"
    # Nothing is sent to the address.
    SUPPRESSED = "suppressed"
    # None was wanted: the reseller hands the link over.
    LINK_ONLY = "link_only"


class DeliveryError(NamedTuple):
    """What went wrong, in a sentence for people; with the SMTP reply, where there was one.

    Nothing in it comes from a mail server's own words.
    """

    message: str
    smtp_code: int | None = None
    enhanced_status: str | None = None


class EmailDelivery(NamedTuple):
    """How an invitation's latest e-mail stands; `state` is None if it was not sent and won't be."""

    state: DeliveryState | None
    attempts: int = 0
    last_error: DeliveryError | None = None
    next_attempt_at: datetime | None = None
    sent_at: datetime | None = None


# By the enhanced status (RFC 3463) without its class; what is longer comes first.
_BY_STATUS: Mapping[str, str] = {
    "1.1": "There is no such mailbox.",
    "1.2": "The address's domain takes no e-mail.",
    "1.3": "The address is not one that the mail server understands.",
    "1.4": "The address is ambiguous there.",
    "1.6": "The mailbox has moved, and left no address behind.",
    "1.10": "The address's domain takes no e-mail.",
    "1": "The mail server does not take e-mail for this address.",
    "2.1": "The mailbox is disabled, or takes no e-mail at present.",
    "2.2": "The mailbox is full.",
    "2.3": "The e-mail is too large for the mailbox.",
    "2": "The mailbox can't take the e-mail.",
    "3.1": "The recipient's mail server is full.",
    "3.4": "The e-mail is too large for the recipient's mail server.",
    "3": "The recipient's mail server has a fault.",
    "4.1": "The recipient's mail server does not answer.",
    "4.4": "The way to the recipient's mail server is not known.",
    "4.7": "The e-mail could not be delivered in time.",
    "4": "The recipient's mail server could not be reached.",
    "6": "The recipient's mail server can't take an e-mail of this form.",
    "7": "The recipient's mail server refuses e-mail from this service by its policy.",
}
_GREYLISTED = "The recipient's mail server asks for the e-mail once more, later."


def explained(code: int | None, status: str | None, otherwise: str = "") -> DeliveryError:
    """Returns what an SMTP reply amounts to; `otherwise` says what happened where none tells."""
    text = ""
    if status:
        subject = status.partition(".")[2]
        text = _BY_STATUS.get(subject) or _BY_STATUS.get(subject.partition(".")[0], "")
        if status.startswith("4.7."):
            text = _GREYLISTED
    if not text and code is not None:
        text = (
            "The mail server refused the e-mail for good."
            if code >= 500
            else "The mail server does not take the e-mail at present."
        )
    return DeliveryError(text or f"{otherwise[:1].upper()}{otherwise[1:]}.", code, status)


def deferred(late: Deferral) -> EmailDelivery:
    """Returns how an e-mail stands that is tried again."""
    error = explained(late.smtp_code, late.status, late.problem)
    return EmailDelivery(DeliveryState.DEFERRED, late.attempt, error, late.next_attempt_at)
