"""E-mails of a delivery, and how another program reads them."""

from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from email.parser import Parser
from email.policy import default
from html.parser import HTMLParser

from server.storage.interface import Delivery
from server.worker.mail.mailer import Mail
from server.worker.mail.messages import MessageBuilder

NOW = datetime(2026, 11, 22, 17, 0, 5, tzinfo=UTC)
LINK = "https://billing.example.com/invitations/"
TOKEN = "To-ken_" + "x" * 25
STOP = f"{LINK}{TOKEN}?stop=yes"
# What an e-mail leads to: nothing is loaded from anywhere.
LINKS = {"", LINK + TOKEN, STOP}
DELIVERY = Delivery(
    operation_id="bop0123456789abcdefg",
    attempt=1,
    lease_until=NOW + timedelta(minutes=1),
    cancel_requested=False,
    invitation_id="inv0123456789abcdefg",
    email="someone@customer.test",
    customer_name="Romashka LLC",
    reseller_name="Acme Cloud",
    expires_at=datetime(2026, 12, 22, 18, 4, tzinfo=timezone(timedelta(hours=3))),
    link_token=TOKEN,
    first_operation_id="bop0123456789abcdefg",
    number=1,
    requested_at=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
)
HEADERS = [
    *("From", "MIME-Version", "Content-Language", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("To", "Subject", "Date", "Message-ID"),
    *("List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"),
]
ISOLATE, POP = "\u2068", "\u2069"
MESSAGES = MessageBuilder("Billing <billing@example.com>", LINK, lambda: NOW)


def read(mail: Mail) -> EmailMessage:
    message = Parser(policy=default).parsestr(mail.content.decode())
    assert isinstance(message, EmailMessage)
    return message


def invitation(**changes: object) -> EmailMessage:
    return read(MESSAGES.invitation(DELIVERY._replace(**changes)))  # type: ignore[arg-type]


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body
    text = body.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


class Page(HTMLParser):
    """What a reader of HTML sees: its text, tags and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", [""], [""]
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data
