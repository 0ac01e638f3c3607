"""What a mail server's refusals mean: a row for each case."""

import pytest

from server.domain.errors import Reason
from server.worker.mail.mailer import MailDelayedError, MailRefusedError
from server.worker.mail.smtp_replies import BARE_TO_RCPT, BY_STATUS, Meaning, failure, meaning
from tests.worker.mail_server import MailServer, serving
from tests.worker.mailing import MAIL, mailing

R, S, T = Meaning.RECIPIENT, Meaning.SENDER, Meaning.TEMPORARY

# Reply, and what it means at the connection and at MAIL, to RCPT, to DATA.
REPLIES: list[tuple[str, Meaning, Meaning, Meaning]] = [
    # The address.
    ("550 5.1.0 other address status", S, R, R),
    ("550 5.1.1 no such mailbox", S, R, R),
    ("550 5.1.2 no such domain", S, R, R),
    ("501 5.1.3 bad syntax", S, R, R),
    ("550 5.1.4 ambiguous", S, R, R),
    ("551 5.1.6 has moved", S, R, R),
    ("550 5.1.10 domain takes no mail", S, R, R),
    # The sender's address.
    ("553 5.1.7 bad sender syntax", S, S, S),
    ("550 5.1.8 no such sender domain", S, S, S),
    ("550 5.1.9 old server", S, S, S),
    # The mailbox.
    ("550 5.2.1 disabled", S, R, R),
    ("552 5.2.2 full", S, R, R),
    ("552-5.2.2 the mailbox\n5.2.2 is full", S, R, R),
    ("550 5.2.0 other mailbox status", S, S, S),
    ("552 5.2.3 too large for the mailbox", S, S, S),
    ("550 5.2.4 list trouble", S, S, S),
    # The system, the way, the protocol, the content.
    ("554 5.3.0 other system status", S, S, S),
    ("552 5.3.4 too large for the system", S, S, S),
    ("554 5.3.5 misconfigured", S, S, S),
    ("554 5.4.1 no answer from host", S, S, S),
    ("550 5.4.4 no route", S, S, S),
    ("554 5.4.6 loop", S, S, S),
    ("550 5.5.0 other protocol status", S, S, S),
    ("503 5.5.1 bad sequence", S, S, S),
    ("554 5.6.0 bad content", S, S, S),
    ("550 5.6.7 no international address", S, S, S),
    # Policy.
    ("550 5.7.0 other security status", S, S, S),
    ("530 5.7.0 authentication wanted", S, S, S),
    ("550 5.7.1 relaying denied", S, S, S),
    ("535 5.7.8 wrong password", S, S, S),
    ("550 5.7.20 no DKIM signature", S, S, S),
    ("550 5.7.23 SPF failed", S, S, S),
    ("550 5.7.25 no reverse name", S, S, S),
    ("550 5.7.26 DMARC failed", S, S, S),
    ("554 5.7.606 banned address", S, S, S),
    # A status that says nothing, a class that is not known, and one that contradicts the code.
    ("550 5.0.0 failed", S, S, S),
    ("550 5.9.9 unknown", S, S, S),
    ("550 4.7.1 later", T, T, T),
    ("450 5.1.1 later", T, T, T),
    # Without a status.
    ("550 no such user", S, R, R),
    ("550 Requested action not taken", S, R, S),
    ("551 not local", S, R, S),
    ("552 too much", S, S, S),
    ("553 name not allowed", S, R, S),
    ("554 transaction failed", S, S, S),
    ("556 domain takes no mail", S, R, S),
    ("555 parameters unknown", S, S, S),
    ("500 what", S, S, S),
    ("501 5.1.3x is no status", S, S, S),
    ("502 not implemented", S, S, S),
    ("503 bad sequence", S, S, S),
    ("504 not for this parameter", S, S, S),
    ("521 no mail here", S, S, S),
    ("530 log in", S, S, S),
    ("535 wrong password", S, S, S),
    ("538 encrypt", S, S, S),
    # No such mailbox in words: Yandex, Postfix, Outlook.com, Exchange Online, Mail.ru, Yahoo, cPanel.
    ("550 5.7.1 No such user!", S, R, R),
    ("550 5.7.1 <a@example.com>: Recipient address rejected: User unknown", S, R, R),
    ("550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).", S, R, R),
    ("550 5.4.1 [a@example.com]: Recipient address rejected: Access denied.", S, R, R),
    ("550 not accepted -- invalid mailbox. Mailbox a@example.com: user not found", S, R, R),
    ("552 1 Requested mail action aborted, mailbox not found", S, R, R),
    ("550-The mail server\nno such\nuser here", S, R, R),
    ("550 5.0.0 <a@example.com>... User unknown", S, R, R),
    ("554 5.0.0 The account does not exist", S, R, R),
    ("550 User unknown in relay recipient table <spam@example.com>", S, R, R),
    ("550 5.1.1 User unknown, no spam please", S, R, R),
    # The sender's trouble in words, also Exim's and Postfix's.
    ("550 relay not permitted", S, S, S),
    ("550 5.7.1 Relaying denied for unknown user", S, S, S),
    (
        "550-Verification failed for <b@example.com>\nNo Such User Here\nSender verify failed",
        S,
        S,
        S,
    ),
    ("550 5.1.0 <b@example.com>: Sender address rejected: User unknown", S, S, S),
    ("550 192.0.2.1 is in a black list at zen.spamhaus.org", S, S, S),
    ("550 5.0.0 Blocked - see https://mail.example/no-such-user", S, S, S),
    ("553 authentication is required", S, S, S),
    ("550 rejected by policy", S, S, S),
    ("450 no such user", T, T, T),
    ("550 4.1.1 no such user", T, T, T),
    # As qmail writes it.
    ("553 sorry, not in my list of allowed hosts (#5.7.1)", S, S, S),
    ("511 sorry, no mailbox here by that name (#5.1.1)", S, R, R),
    # Temporary, or no reply at all.
    ("421 4.3.2 going down", T, T, T),
    ("450 busy", T, T, T),
    ("451 4.7.1 greylisted", T, T, T),
    ("452 4.2.2 full for now", T, T, T),
    ("299 what", T, T, T),
]


@pytest.mark.parametrize(("reply", "before", "to_rcpt", "to_data"), REPLIES)
def test_each_reply_at_each_stage(
    reply: str, before: Meaning, to_rcpt: Meaning, to_data: Meaning
) -> None:
    expected = {"connection": before, "MAIL": before, "RCPT": to_rcpt, "DATA": to_data}
    for stage, wanted in expected.items():
        error = failure(stage, int(reply[:3]), reply[4:])
        assert isinstance(error, MailRefusedError) is (wanted is R), stage
        operators = isinstance(error, MailDelayedError) and error.operators
        assert operators is (wanted is S), stage


def test_the_table_has_a_row_for_each_rule() -> None:
    replies = [reply for reply, *_ in REPLIES]
    for status in BY_STATUS:
        assert any(reply[4:].startswith(status) for reply in replies), status
    for code in BARE_TO_RCPT:
        assert any(reply.startswith(str(code)) for reply in replies), code


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("status", ["5.6.7", "5.6.9"])
def test_international_addresses_are_refused_as_such(stage: str, status: str) -> None:
    assert meaning(stage, 553, status, needs_smtputf8=True) is Meaning.ADDRESS
    assert meaning(stage, 553, status) is S


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
async def test_a_server_that_refuses_an_international_address(command: str) -> None:
    mail = MAIL.__class__(MAIL.sender, "почта@example.com", MAIL.content)
    server = MailServer(replies={command: ["553 5.6.7 No international addresses"]})
    async with serving(server), mailing(server.url) as mailer:
        with pytest.raises(MailRefusedError) as refused:
            await mailer.send(mail)
    assert refused.value.reason is Reason.SMTPUTF8_MISSING
    assert refused.value.status == "5.6.7"
