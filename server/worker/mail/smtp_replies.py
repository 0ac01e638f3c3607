"""What a mail server's refusal means: about the recipient and lasting, or about anything else.

Only what is surely about the recipient is lasting: a customer who is taken back for nothing costs
more than an e-mail that is tried for days. The enhanced status (RFC 3463) decides, but for what
well-known servers say in words alone: that there is no such mailbox, or that they don't want us.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from server.domain.errors import Reason
from server.worker.mail.mailer import MailDelayedError, MailError, MailRefusedError

# At the start, or in brackets as qmail has it.
_ENHANCED = re.compile(
    r"([245]\.\d{1,3}\.\d{1,3})(?!\S)|.*\(#([245]\.\d{1,3}\.\d{1,3})\)", re.DOTALL
)


class Meaning(StrEnum):
    """Whose trouble a refusal is. Only the recipient's and the address's are lasting."""

    RECIPIENT = "recipient"
    # Only a server with SMTPUTF8 can take an e-mail for the address.
    ADDRESS = "address"
    # The sender's, the e-mail's or the way's: the operator's to mend.
    SENDER = "sender"
    TEMPORARY = "temporary"


_R, _S = Meaning.RECIPIENT, Meaning.SENDER

# By class 5 status; the longest beginning counts, and what is not here is the sender's. Among that:
# 5.0 says nothing; 5.3 is the system (5.3.4: our e-mail is too large for it); 5.4 the way; 5.5 the
# protocol; 5.6 the content; 5.7 policy (DKIM, SPF, DMARC, reputation, relaying).
BY_STATUS: Mapping[str, Meaning] = {
    "5.1": _R,
    "5.1.7": _S,  # the sender's address is malformed
    "5.1.8": _S,  # the sender's domain does not exist
    "5.1.9": _S,  # the next server is too old
    "5.2.1": _R,  # disabled
    "5.2.2": _R,  # full
}
# Codes without a status, as answers to RCPT: no such mailbox, elsewhere, not allowed as a name, and
# a domain without mail (RFC 7504). Not 552, which was once for too many recipients and is to be
# tried again (RFC 5321 section 4.5.3.1.10), nor 554, which is often about relaying.
BARE_TO_RCPT = frozenset({550, 551, 553, 556})
# That there is no such mailbox, whatever the status: Yandex says 5.7.1, others none after DATA, and
# Microsoft 5.4.1 (Exchange Online) or 5.5.0 (Outlook.com).
_NO_MAILBOX = re.compile(
    r"no such (?:user|mailbox|recipient|account)|unknown (?:user|mailbox|recipient)"
    r"|no mailbox (?:here )?by that name|invalid (?:mailbox|recipient)"
    r"|(?:user|mailbox|recipient|account)(?: is)? (?:unknown|not found)"
    r"|(?:user|mailbox|recipient|account)(?: that you tried to reach)? (?:does not|doesn't) exist"
    r"|^5\.4\.1 .*recipient address rejected|^5\.5\.0 .*mailbox unavailable",
    re.IGNORECASE,
)
# What is about the sender, where the status does not tell, as with Exim's `550 relay not permitted`
# and `550 Sender verify failed`. 5.1.0 is Postfix's for an unknown sender too.
_ABOUT_SENDER = re.compile(
    r"\bsender\b|\brelay(?:ing)?\b(?! (?:recipient|domain))|authenticat|\b(?:black|block) ?list"
    r"|\bblocked\b|\b(?:dns)?[rb]bl\b|\bspam|\bspf\b|\bdkim\b|\bdmarc\b|\breputation\b|\bhelo\b"
    r"|\bpolicy\b|\breverse dns\b",
    re.IGNORECASE,
)
_NO_WORDS = re.compile(r"\S+@\S+|https?://\S+")
# Non-ASCII addresses are not permitted, or the next server can't take them (RFC 6531).
_NO_SMTPUTF8 = frozenset({"5.6.7", "5.6.9"})


def meaning(
    stage: str, code: int, status: str | None, text: str = "", *, needs_smtputf8: bool = False
) -> Meaning:
    """Returns what a refusal at a stage (connection, MAIL, RCPT, DATA) means.

    What comes before RCPT can't be about the recipient.
    """
    if not 500 <= code <= 599 or (status and status[0] != "5"):
        return Meaning.TEMPORARY
    if needs_smtputf8 and status in _NO_SMTPUTF8:
        return Meaning.ADDRESS
    if stage not in ("RCPT", "DATA"):
        return Meaning.SENDER
    words = " ".join(_NO_WORDS.sub("", text).split())
    if _ABOUT_SENDER.search(words):
        if status is None or status.startswith("5.0.") or status == "5.1.0":
            return Meaning.SENDER
    elif _NO_MAILBOX.search(words):
        return Meaning.RECIPIENT
    if status is None:
        return Meaning.RECIPIENT if stage == "RCPT" and code in BARE_TO_RCPT else Meaning.SENDER
    return BY_STATUS.get(status) or BY_STATUS.get(status.rpartition(".")[0], Meaning.SENDER)


def failure(stage: str, code: int, text: str, *, needs_smtputf8: bool = False) -> MailError:
    """Returns what a reply with this code and text that is no success amounts to."""
    status = enhanced_status(text)
    match meaning(stage, code, status, text, needs_smtputf8=needs_smtputf8):
        case Meaning.RECIPIENT:
            return MailRefusedError(stage, code=code, status=status)
        case Meaning.ADDRESS:
            return no_smtputf8(stage, code, status)
        case Meaning.SENDER:
            return MailDelayedError(stage, code=code, status=status, operators=True)
    return MailDelayedError(stage, code=code if code > 0 else None, status=status)


def no_smtputf8(stage: str, code: int | None = None, status: str | None = None) -> MailError:
    """Returns the refusal of an address that the server can't deliver to."""
    return MailRefusedError(
        *(stage, Reason.SMTPUTF8_MISSING),
        code=code,
        status=status,
        detail="the server lacks SMTPUTF8",
    )


def enhanced_status(text: str) -> str | None:
    """Returns the enhanced status in a reply's text, if there is one."""
    found = _ENHANCED.match(text)
    return (found[1] or found[2]) if found else None
