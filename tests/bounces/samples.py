"""What mail servers and people send back, in the forms that well-known programs have."""

from typing import NamedTuple

from server.domain.bounces import BounceReport

ADDRESS = "someone@customer.test"
_SENT = f"""\
From: Billing <billing@example.com>
To: {ADDRESS}
Subject: Acme Cloud invites Romashka LLC
Message-ID: <bop0123456789abcdefg@example.com>

Acme Cloud invites Romashka LLC.
"""


class Sample(NamedTuple):
    """An e-mail, its envelope's sender, and what it tells; None: it is no report."""

    content: bytes
    report: BounceReport | None
    reverse_path: str = ""


def dsn(
    fields: str,
    *,
    text: str = "This is the mail system at host mx.customer.test.",
    headers: str = "Auto-Submitted: auto-replied\n",
    sender: str = "MAILER-DAEMON@mx.customer.test (Mail Delivery System)",
) -> bytes:
    """Returns a report by RFC 3464 about one recipient."""
    return f"""\
From: {sender}
To: billing@example.com
Subject: Undelivered Mail Returned to Sender
{headers}MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_report"

--=_report
Content-Type: text/plain; charset=us-ascii

{text}

--=_report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.customer.test
Arrival-Date: Fri, 27 Nov 2026 04:00:00 +0000 (UTC)

Final-Recipient: rfc822; {ADDRESS}
{fields}
--=_report
Content-Type: message/rfc822

{_SENT}
--=_report--
""".replace("\n", "\r\n").encode()


def plain(sender: str, subject: str, text: str, headers: str = "") -> bytes:
    return (
        (f"From: {sender}\nTo: billing@example.com\nSubject: {subject}\n{headers}\n{text}\n")
        .replace("\n", "\r\n")
        .encode()
    )


_NO_MAILBOX = BounceReport(True, True, 550, "5.1.1")
_QMAIL = (
    "Hi. This is the qmail-send program at mx.customer.test.\n"
    "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
    "This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
    f"<{ADDRESS}>:\n"
    "Sorry, no mailbox here by that name. (#5.1.1)\n\n"
    f"--- Below this line is a copy of the message.\n\n{_SENT}"
)

SAMPLES = {
    "postfix": Sample(
        dsn(
            "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 "
            f"<{ADDRESS}>: Recipient address rejected: User unknown\n"
        ),
        _NO_MAILBOX,
    ),
    "postfix is late": Sample(
        dsn("Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: X-Postfix; connect timed out\n"),
        BounceReport(False, False, None, "4.4.1"),
    ),
    "gmail": Sample(
        dsn(
            "Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; gmail-smtp-in.l.google.com.\n"
            "Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not\n"
            " exist. Please try double-checking the recipient's email address.\n"
            "Last-Attempt-Date: Fri, 27 Nov 2026 04:00:01 -0800 (PST)\n",
            sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        ),
        _NO_MAILBOX,
    ),
    "exchange online": Sample(
        dsn(
            "Action: failed\nStatus: 5.1.10\nDiagnostic-Code: smtp;550 5.1.10 "
            "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup\n",
            sender="postmaster@customer.onmicrosoft.test",
            headers="Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\n",
        ),
        BounceReport(True, True, 550, "5.1.10"),
    ),
    "of an address that is not ASCII": Sample(
        dsn(
            "Action: failed (no such mailbox)\nStatus: 5.1.1 (user unknown)\n"
            "Diagnostic-Code: smtp; 550 5.1.1 почта@customer.test: нет такого\n"
        ).replace(b"message/delivery-status", b"Message/Global-Delivery-Status"),
        _NO_MAILBOX,
    ),
    "a full mailbox": Sample(
        dsn("Action: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 5.2.2 Over quota\n"),
        BounceReport(True, True, 552, "5.2.2"),
    ),
    "policy": Sample(
        dsn(
            "Action: failed\nStatus: 5.7.26\nDiagnostic-Code: smtp; 550-5.7.26 This mail has been "
            "blocked because the sender is unauthenticated\n"
        ),
        BounceReport(True, False, 550, "5.7.26"),
    ),
    "given up": Sample(
        dsn(
            "Action: failed\nStatus: 4.4.7\nDiagnostic-Code: smtp; 451 4.7.1 Greylisted, "
            "please try again later\n"
        ),
        BounceReport(True, False, 451, "4.4.7"),
    ),
    "a status of the relay's own": Sample(
        dsn("Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.1.1 No such user\n"),
        _NO_MAILBOX,
    ),
    "delivered": Sample(dsn("Action: delivered\nStatus: 2.0.0\n"), None),
    "exim": Sample(
        plain(
            "Mail Delivery System <Mailer-Daemon@mx.customer.test>",
            "Mail delivery failed: returning message to sender",
            "This message was created automatically by mail delivery software.\n\n"
            "A message that you sent could not be delivered to one or more of its\n"
            "recipients. This is a permanent error. The following address(es) failed:\n\n"
            f"  {ADDRESS}\n    SMTP error from remote mail server after RCPT TO:<{ADDRESS}>:\n"
            "    550 5.1.1 No such user\n",
            headers=f"X-Failed-Recipients: {ADDRESS}\nAuto-Submitted: auto-replied\n",
        ),
        _NO_MAILBOX,
    ),
    "qmail": Sample(
        plain(
            "MAILER-DAEMON@mx.customer.test",
            "failure notice",
            _QMAIL,
        ),
        BounceReport(True, True, None, "5.1.1"),
    ),
    "a person passes a report on": Sample(
        plain(f"Someone <{ADDRESS}>", "Fwd: failure notice", _QMAIL),
        None,
        ADDRESS,
    ),
    "a program answers with a report": Sample(
        plain(f"Someone <{ADDRESS}>", "Away", _QMAIL, headers="X-Autorespond: yes\n"),
        None,
    ),
    "out of office": Sample(
        plain(
            f"Someone <{ADDRESS}>",
            "Out of office: Acme Cloud invites Romashka LLC",
            "I am away until Monday. 550 is the number of my office.",
            headers="Auto-Submitted: auto-replied (vacation)\n",
        ),
        None,
    ),
    "out of office of a program that knows no RFC": Sample(
        plain(
            f"Someone <{ADDRESS}>",
            "Automatic reply",
            "I am away.",
            headers="X-Autoreply: yes\nPrecedence: auto_reply\n",
        ),
        None,
        ADDRESS,
    ),
    "read": Sample(
        dsn("Disposition: manual-action/MDN-sent-manually; displayed\n")
        .replace(b"report-type=delivery-status", b"report-type=disposition-notification")
        .replace(b"message/delivery-status", b"message/disposition-notification"),
        None,
        ADDRESS,
    ),
    "a person": Sample(
        plain(f"Someone <{ADDRESS}>", "Re: Acme Cloud invites Romashka LLC", "Who are you?"),
        None,
        ADDRESS,
    ),
    "nothing": Sample(b"", None),
    "no MIME": Sample(b"\xff\xfe\x00" * 100, None),
}
