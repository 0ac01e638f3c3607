"""What the e-mails say, from the templates.

Longer than others: what differs between e-mails is filled in here, once.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from email.headerregistry import Address
from functools import lru_cache
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    select_autoescape,
)

from server.domain import links
from server.domain.brands import Brand
from server.domain.display import isolated, shown, shown_lines
from server.languages import LanguageCode, time_in_words
from server.storage.interface import Delivery
from server.worker.mail.addresses import (
    ASCII_ADDRESS,
    MessageSettingError,
    parse_recipient,
    parse_sender,
    parse_support,
)
from server.worker.mail.mailer import Mail
from server.worker.mail.mime import (
    EOL,
    ascii_html,
    constant_headers,
    date,
    encoded_subject,
    folded,
    in_ascii,
    new_boundary,
    part,
)

_TEMPLATES = Path(__file__).parent / "templates"

# Names are as long as callers make them.
_LONGEST_IN_SUBJECT = 60
_LONGEST_IN_BODY = 200
_LONGEST_DETAIL = 300

_MOST_RENDERED = 64
# How wide a quotation is in plain text.
_QUOTED_WIDTH = 70
# Placeholders that templates are rendered with, to be filled in later. No clean name holds a NUL.
_RESELLER, _CUSTOMER, _INVITER = "\0reseller", "\0customer", "\0inviter"
_NOTE, _LINK, _CONTACT = "\0note", "\0link", "\0contact"
_DETAILS, _STOP = "\0details", "\0stop"
_ALL = _RESELLER, _CUSTOMER, _INVITER, _NOTE, _LINK, _CONTACT, _DETAILS, _STOP
_STAND_IN = re.compile(f"({'|'.join(_ALL)})")


class _Languages(NamedTuple):
    """What e-mails in these languages, one after the other, have alike."""

    codes: list[LanguageCode]
    headers: str
    subject: Template


class _Shape(NamedTuple):
    """What a template is rendered by: all that differs between e-mails, names and the like aside.

    `language` is of the invitation's options.
    """

    language: str
    until: datetime
    is_resent: bool
    has_contact: bool
    has_details: bool
    has_inviter: bool
    has_note: bool
    is_reminder: bool


class _RenderedTemplate(NamedTuple):
    """The templates, rendered but for names and links: pieces of text, with stand-ins between them."""

    subject: list[str]
    text: list[str]
    html: list[str]


class MessageBuilder:
    """Makes e-mails for one brand, in the language that the invitation asks for.

    One that asks for none is in all of `languages`: the invitee's own is not known.

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
        bounce_domain: str = "",
        templates: Path | None = None,
    ) -> None:
        """`zone` is what times are shown in, beside UTC.

        Files of the folder `templates` stand in for those of the same names among ours.

        With a `bounce_domain` each e-mail comes back to an address of its own there.
        """
        try:
            codes = [LanguageCode(each) for each in languages]
        except ValueError:
            codes = []
        if not codes:
            raise MessageSettingError(f"the languages must be of {', '.join(LanguageCode)}")
        brand = brand or Brand()
        name, self._sender = parse_sender(sender)
        self._domain = self._sender.rpartition("@")[2]
        self._bounce_domain = bounce_domain
        try:
            self._link_prefix = links.link_prefix(link_prefix)
        except ValueError as error:
            raise MessageSettingError(str(error)) from None
        # A part behind # never reaches the page's server.
        query = "&stop=yes" if "?" in self._link_prefix else "?stop=yes"
        self._stop = "" if "#" in self._link_prefix else query
        self._now = now
        self._zone = zone
        self._support = brand.support and parse_support(brand.support)
        environment = template_environment(brand, languages, templates)

        def in_languages(codes: list[LanguageCode]) -> _Languages:
            headers = constant_headers(Address(name, addr_spec=self._sender), codes)
            return _Languages(
                codes, headers, environment.get_template(f"{codes[0]}/invitation.subject")
            )

        with template_errors():
            self._all_languages = in_languages(codes)
            self._languages = {code.value: in_languages([code]) for code in LanguageCode}
            self._text = environment.get_template("message.txt")
            self._html = environment.get_template("message.html")
            # Those that are sent at a time mostly end at the same minute, and rendering costs more
            # than all the rest.
            self._rendered = lru_cache(_MOST_RENDERED)(self._render)
            if templates is not None:
                self._check()

    def _check(self) -> None:
        """Renders each template with all that can be in it, and with nothing of it.

        Raises TemplateError, MessageSettingError.
        """
        until = datetime(2030, 1, 1, tzinfo=UTC)
        values = len(_Shape._fields) - 2
        for language in ("", *self._languages):
            for given in (False, True):
                rendered = self._render(_Shape(language, until, *[given] * values))
                for name, pieces in (("txt", rendered.text), ("html", rendered.html)):
                    if _LINK not in pieces:
                        raise MessageSettingError(f"an invitation's {name} lacks {{{{ link }}}}")

    def invitation(self, delivery: Delivery) -> Mail:
        """Returns the e-mail for an invitation; its Message-ID is the same for each attempt.

        One that is sent again has a Message-ID of its own and answers the first.
        Raises MailRefusedError for an address that no e-mail can be sent to.
        """
        recipient = parse_recipient(delivery.email)
        until = delivery.expires_at.astimezone(UTC).replace(second=0, microsecond=0)
        # A reminder leaves all links as they are.
        is_resent = (
            delivery.first_operation_id != delivery.operation_id and not delivery.is_reminder
        )
        contact = delivery.reseller_contact or ""
        if not ASCII_ADDRESS.fullmatch(contact):
            contact = ""
        language, inviter, note, *_ = delivery.options
        details = [shown(each, _LONGEST_DETAIL) for each in delivery.reseller_details if each]
        has = bool(contact), bool(details), bool(inviter), bool(note)
        shape = _Shape(language, until, is_resent, *has, delivery.is_reminder)
        rendered = self._rendered(shape)
        names = {_RESELLER: delivery.reseller_name, _CUSTOMER: delivery.customer_name}
        in_body = {each: shown(name, _LONGEST_IN_BODY) for each, name in names.items()}
        in_text = {each: isolated(name) for each, name in in_body.items()}
        in_subject = {
            each: in_text[each]
            if len(name) <= _LONGEST_IN_SUBJECT
            else isolated(shown(name, _LONGEST_IN_SUBJECT))
            for each, name in names.items()
        }
        link = self._link_prefix + delivery.link_token
        in_body |= {_LINK: link, _CONTACT: contact, _STOP: link + self._stop}
        in_html = {each: ascii_html(text) for each, text in in_body.items()}
        in_text = in_body | in_text
        if inviter:
            inviter = shown(inviter, _LONGEST_IN_BODY)
            in_text[_INVITER], in_html[_INVITER] = isolated(inviter), ascii_html(inviter)
        if details:
            in_text[_DETAILS] = EOL.join(map(isolated, details))
            in_html[_DETAILS] = "<br>".join(f"<bdi>{ascii_html(each)}</bdi>" for each in details)
        if note:
            lines = shown_lines(note, len(note))
            in_text[_NOTE], in_html[_NOTE] = _quoted(lines), "<br>".join(map(ascii_html, lines))
        subject = _filled(rendered.subject, in_subject)
        text = folded(_filled(rendered.text, in_text))
        html = _filled(rendered.html, in_html)
        boundary = new_boundary()
        content = (
            f"{self._in(language).headers}"
            f"To: {recipient}\r\n"
            f"{self._reply_to(contact)}"
            f"Subject: {encoded_subject(subject)}\r\n"
            f"Date: {date(self._now().replace(microsecond=0))}\r\n"
            f"Message-ID: {self._message_id(delivery.operation_id)}\r\n"
            f"{self._thread(delivery)}"
            f"{self._unsubscribe(link)}"
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n'
            f"\r\n"
            f"--{boundary}\r\n{part('plain', text)}\r\n"
            f"--{boundary}\r\n{part('html', html)}\r\n"
            f"--{boundary}--\r\n"
        )
        sender = self._sender
        if self._bounce_domain:
            sender = f"{delivery.bounce_local_part}@{self._bounce_domain}"
        return Mail(sender, recipient, content.encode())

    def _in(self, language: str) -> _Languages:
        """Returns the language; all, for none or one that a later release has added."""
        return self._languages.get(language, self._all_languages)

    def _render(self, shape: _Shape) -> _RenderedTemplate:
        """Renders the templates, with stand-ins for what differs from e-mail to e-mail."""
        languages = self._in(shape.language)
        names = {"reseller": _RESELLER, "customer": _CUSTOMER}
        subject = languages.subject.render({**names, "is_reminder": shape.is_reminder})
        facts = {
            **names,
            "kind": "invitation",
            "languages": languages.codes,
            "link": _LINK,
            "until": {
                each: time_in_words(shape.until, self._zone, each) for each in languages.codes
            },
            "is_resent": shape.is_resent,
            "is_reminder": shape.is_reminder,
            "stop": _STOP if self._stop else "",
            "contact": _CONTACT if shape.has_contact else "",
            "details": _DETAILS if shape.has_details else "",
            "inviter": _INVITER if shape.has_inviter else "",
            "note": _NOTE if shape.has_note else "",
        }
        html = self._html.render(facts, subject=subject)
        return _RenderedTemplate(*map(_pieces, (subject, self._text.render(facts), in_ascii(html))))

    def _reply_to(self, contact: str) -> str:
        """Returns the header: who invites knows most of it, and after them the support."""
        address = contact or self._support
        return f"Reply-To: {address}\r\n" if address else ""

    def _message_id(self, operation_id: str) -> str:
        return f"<{operation_id}@{self._domain}>"

    def _unsubscribe(self, link: str) -> str:
        """Returns the headers by which mail programs offer no more e-mails (RFC 8058)."""
        if not self._stop:
            return ""
        one_click = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        is_secure = link.startswith("https:")
        return f"List-Unsubscribe: <{link}{self._stop}>\r\n{one_click if is_secure else ''}"

    def _thread(self, delivery: Delivery) -> str:
        if delivery.first_operation_id == delivery.operation_id:
            return ""
        first = self._message_id(delivery.first_operation_id)
        return f"In-Reply-To: {first}\r\nReferences: {first}\r\n"


def template_environment(
    brand: Brand, languages: Sequence[str], templates: Path | None = None
) -> Environment:
    """Returns what the e-mails' templates are read and filled with.

    Those of the folder come first. Raises MessageSettingError where there is none.
    """
    if templates is not None and not templates.is_dir():
        raise MessageSettingError(f"there is no folder {templates}")
    folders = [_TEMPLATES] if templates is None else [templates, _TEMPLATES]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(brand=brand, languages=languages)
    return environment


@contextmanager
def template_errors() -> Iterator[None]:
    """Raises MessageSettingError, which says where it is wrong, for a template that can't be used."""
    try:
        yield
    except TemplateError as error:
        raise MessageSettingError(f"{_place(error)}: {error}") from None


def _place(error: TemplateError) -> str:
    """Returns which template is wrong, and where, as far as is known."""
    name, line = getattr(error, "name", None), getattr(error, "lineno", None)
    return ", line ".join(str(part) for part in (name, line) if part) or "a template"


def _pieces(template: str) -> list[str]:
    return _STAND_IN.split(template.replace("\n", EOL))


def _filled(pieces: Sequence[str], facts: Mapping[str, str]) -> str:
    return "".join([facts.get(piece, piece) for piece in pieces])


def _quoted(lines: Sequence[str]) -> str:
    """Returns a quotation in plain text."""
    rows = [row for line in lines for row in _wrapped(line) or [""]]
    return EOL.join(f"> {isolated(row)}".rstrip() for row in rows)


def _wrapped(line: str) -> list[str]:
    return wrap(line, _QUOTED_WIDTH, break_long_words=False, break_on_hyphens=False)
