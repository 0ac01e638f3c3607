"""Writes the e-mails: what they say, and their form on the wire.

Only the headers that never change are made by `email.message`, once: its header machinery takes a
millisecond for a message, longer than sending it, and before Python 3.11.10 it lets an encoded word
smuggle in header lines. The rest is put together from a few lines of known form.
"""

import re
from binascii import b2a_qp
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from server.domain.brands import Brand
from server.domain.display import isolated, shown
from server.languages import LanguageCode, time_in_words
from server.storage.interface import Delivery
from server.worker.mail.mailer import Mail, MailRefusedError

_TEMPLATES = Path(__file__).parent / "templates"

# Names are as long as callers make them.
_LONGEST_IN_SUBJECT = 60
_LONGEST_IN_BODY = 200
# The longest line that SMTP carries, without its end (RFC 5321 section 4.5.3.1.6).
_LONGEST_LINE = 998
# The longest Subject that needs no second line of 78 characters.
_LONGEST_SUBJECT = 78 - len("Subject: ")
_EOL = "\r\n"

_ASCII_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+", re.ASCII)

_FRAMES = 64
# Stand-ins in a frame: templates can do nothing with them but show them. No clean name holds a NUL.
_RESELLER, _CUSTOMER = "\0reseller", "\0customer"
_LINK, _CONTACT = "\0link", "\0contact"
_STAND_IN = re.compile(f"({_RESELLER}|{_CUSTOMER}|{_LINK}|{_CONTACT})")


class MessageSettingError(ValueError):
    """A sender, link or language that can't be used; one line that says why."""


class _Frame(NamedTuple):
    """The templates, rendered but for names and link: pieces of text, and stand-ins between them."""

    subject: list[str]
    text: list[str]
    html: list[str]


class Messages:
    """Makes e-mails for one brand, each in all of the languages: the invitee's own is not known.

    `sender` is what stands after From: `Name <address>` or an address. A link is `link_prefix`, a
    slash unless it ends in one of `/ = ? #`, and the token.
    Raises MessageSettingError.
    """

    def __init__(
        self,
        sender: str,
        link_prefix: str,
        now: Callable[[], datetime],
        brand: Brand | None = None,
        languages: Sequence[str] = ("en",),
        zone: tzinfo = UTC,
    ) -> None:
        """`zone` is what times are shown in, beside UTC."""
        try:
            codes = [LanguageCode(each) for each in languages]
        except ValueError:
            codes = []
        if not codes:
            raise MessageSettingError(f"the languages must be of {', '.join(LanguageCode)}")
        brand = brand or Brand()
        name, self._sender = _parse_sender(sender)
        self._domain = self._sender.rpartition("@")[2]
        self._link_prefix = _checked_prefix(link_prefix)
        self._now = now
        self._languages = codes
        self._zone = zone
        self._headers = _constant_headers(Address(name, addr_spec=self._sender), languages)
        self._support = brand.support and _parse_support(brand.support)
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(brand=brand, languages=languages)
        self._subject = environment.get_template(f"{languages[0]}/invitation.subject")
        self._text = environment.get_template("invitation.txt")
        self._html = environment.get_template("invitation.html")
        # Those that are sent at a time mostly end at the same minute, and rendering costs more
        # than all the rest.
        self._frame = lru_cache(_FRAMES)(self._render)

    def invitation(self, delivery: Delivery) -> Mail:
        """Returns the e-mail for an invitation; its Message-ID is the same for each attempt.

        One that is sent again has a Message-ID of its own and answers the first.
        Raises MailRefusedError for an address that no e-mail can be sent to.
        """
        recipient = _parse_recipient(delivery.email)
        until = delivery.expires_at.astimezone(UTC).replace(second=0, microsecond=0)
        is_resent = delivery.first_operation_id != delivery.operation_id
        contact = delivery.reseller_contact or ""
        if not _ASCII_ADDRESS.fullmatch(contact):
            contact = ""
        frame = self._frame(until, is_resent, bool(contact))
        names = delivery.reseller_name, delivery.customer_name
        in_body = [shown(name, _LONGEST_IN_BODY) for name in names]
        in_text = [isolated(name) for name in in_body]
        in_subject = [
            text if len(name) <= _LONGEST_IN_SUBJECT else isolated(shown(name, _LONGEST_IN_SUBJECT))
            for name, text in zip(names, in_text, strict=True)
        ]
        link = self._link_prefix + delivery.link_token
        subject = _filled(frame.subject, in_subject)
        text = _filled(frame.text, in_text, link, contact)
        html = _filled(frame.html, *_html_of(in_body, link, contact))
        boundary = f"=_{delivery.operation_id}"
        content = (
            f"{self._headers}"
            f"To: {recipient}\r\n"
            f"{self._reply_to(contact)}"
            f"Subject: {_encoded_subject(subject)}\r\n"
            f"Date: {_date(self._now().replace(microsecond=0))}\r\n"
            f"Message-ID: {self._message_id(delivery.operation_id)}\r\n"
            f"{self._thread(delivery)}"
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'
            f"\r\n"
            f"--{boundary}\r\n{_part('plain', text)}\r\n"
            f"--{boundary}\r\n{_part('html', html)}\r\n"
            f"--{boundary}--\r\n"
        )
        return Mail(self._sender, recipient, content.encode())

    def _render(self, until: datetime, is_resent: bool, has_contact: bool) -> _Frame:
        """Renders the templates, with stand-ins for what differs from e-mail to e-mail."""
        names = {"reseller": _RESELLER, "customer": _CUSTOMER}
        subject = self._subject.render(names)
        facts = {
            **names,
            "link": _LINK,
            "until": {each: time_in_words(until, self._zone, each) for each in self._languages},
            "is_resent": is_resent,
            "contact": _CONTACT if has_contact else "",
        }
        html = self._html.render(facts, subject=subject)
        return _Frame(*map(_pieces, (subject, self._text.render(facts), _in_ascii(html))))

    def _reply_to(self, contact: str) -> str:
        """Returns the header: who invites knows most of it, and after them the support."""
        address = contact or self._support
        return f"Reply-To: {address}\r\n" if address else ""

    def _message_id(self, operation_id: str) -> str:
        return f"<{operation_id}@{self._domain}>"

    def _thread(self, delivery: Delivery) -> str:
        if delivery.first_operation_id == delivery.operation_id:
            return ""
        first = self._message_id(delivery.first_operation_id)
        return f"In-Reply-To: {first}\r\nReferences: {first}\r\n"


def _ascii_address(address: str) -> str:
    """Returns the address with its domain in A-labels, unless what is before the @ is not ASCII.

    Raises EmailNotValidError.
    """
    if address.isascii():
        if not _ASCII_ADDRESS.fullmatch(address):
            raise EmailNotValidError
        return address
    # test_environment lets .test domains through; nothing is looked up in DNS.
    valid = validate_email(address, check_deliverability=False, test_environment=True)
    return valid.ascii_email or valid.normalized


def _parse_sender(sender: str) -> tuple[str, str]:
    """Returns display name and address, the latter in ASCII."""
    problem = MessageSettingError("the sender must be like Billing <billing@example.com>")
    if not sender.isprintable():
        raise problem
    message = EmailMessage(SMTP)
    message["From"] = sender
    header: Any = message["From"]
    if header.defects or len(header.addresses) != 1 or header.groups[0].display_name:
        raise problem
    try:
        address = _ascii_address(header.addresses[0].addr_spec)
    except EmailNotValidError:
        raise problem from None
    if not address.isascii():
        raise MessageSettingError("the sender's address must be ASCII before the @")
    return header.addresses[0].display_name, address


def _parse_support(address: str) -> str:
    """Returns the address as it stands in a header."""
    try:
        parsed = _ascii_address(address)
    except EmailNotValidError:
        parsed = ""
    if not parsed.isascii() or not parsed:
        raise MessageSettingError("the address for questions must be ASCII before the @")
    return parsed


def _parse_recipient(address: str) -> str:
    """Returns the address as Mail wants it."""
    try:
        return _ascii_address(address)
    except EmailNotValidError:
        raise MailRefusedError("address", detail="not an e-mail address") from None


def _checked_prefix(prefix: str) -> str:
    try:
        parts = urlsplit(prefix)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise MessageSettingError("the link must begin with http:// or https:// and a host")
    if not (prefix.isascii() and prefix.isprintable()) or set(prefix) & set(' "<>'):
        raise MessageSettingError("the link must be ASCII without spaces, quotes and < >")
    return prefix if prefix[-1] in "/=?#" else prefix + "/"


def _constant_headers(sender: Address, languages: Sequence[str]) -> str:
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["MIME-Version"] = "1.0"
    message["Content-Language"] = ", ".join(languages)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "DR, RN, NRN, OOF, AutoReply"
    return message.as_string().removesuffix(_EOL)


def _encoded_subject(subject: str) -> str:
    # What looks like an encoded word must be encoded, or readers would decode it.
    if subject.isascii() and "=?" not in subject and len(subject) <= _LONGEST_SUBJECT:
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode(linesep=_EOL)


@lru_cache(1)
def _date(at: datetime) -> str:
    return format_datetime(at)


def _pieces(template: str) -> list[str]:
    return _STAND_IN.split(template.replace("\n", _EOL))


def _filled(pieces: Sequence[str], names: Sequence[str], link: str = "", contact: str = "") -> str:
    reseller, customer = names
    facts = {_RESELLER: reseller, _CUSTOMER: customer, _LINK: link, _CONTACT: contact}
    return "".join([facts.get(piece, piece) for piece in pieces])


def _html_of(names: Sequence[str], link: str, contact: str) -> tuple[list[str], str, str]:
    return [_ascii_html(name) for name in names], _ascii_html(link), _ascii_html(contact)


def _ascii_html(text: str) -> str:
    return _in_ascii(escape(text))


def _in_ascii(html: str) -> str:
    """HTML can name any character in ASCII, which spares it an encoding."""
    return html.encode("ascii", "xmlcharrefreplace").decode()


def _part(subtype: str, text: str) -> str:
    """Returns a text part in ASCII, its headers included."""
    if text.isascii() and max(map(len, text.split(_EOL))) <= _LONGEST_LINE:
        encoding = "7bit"
    else:
        encoding = "quoted-printable"
        lines = text.replace(_EOL, "\n").encode()
        text = b2a_qp(lines, istext=True).decode().replace("\n", _EOL)
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f"\r\n"
        f"{text}"
    )
