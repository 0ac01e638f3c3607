"""What went wrong with an e-mail, in words for people."""

import pytest

from server.domain.mail import DeliveryError, explained


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (550, "5.1.1", "There is no such mailbox."),
        (550, "5.1.10", "The address's domain takes no e-mail."),
        (452, "4.2.2", "The mailbox is full."),
        (552, "5.2.9", "The mailbox can't take the e-mail."),
        (451, "4.7.1", "The recipient's mail server asks for the e-mail once more, later."),
        (
            *(554, "5.7.26"),
            "The recipient's mail server refuses e-mail from this service by its policy.",
        ),
        (450, None, "The mail server does not take the e-mail at present."),
        (550, None, "The mail server refused the e-mail for good."),
        (451, "4.9.9", "The mail server does not take the e-mail at present."),
        (None, None, "The mail server can't be reached."),
    ],
)
def test_each_reply_has_a_sentence(code: int | None, status: str | None, text: str) -> None:
    assert explained(code, status, "the mail server can't be reached") == DeliveryError(
        *(text, code, status)
    )
