"""The form of e-mails on the wire: headers and parts.

Only the headers that never change are made by `email.message`, once: its header machinery takes a
millisecond for a message, longer than sending it, and before Python 3.11.10 it lets an encoded word
smuggle in header lines. The rest is put together from a few lines of known form.
"""

from binascii import b2a_qp
from collections.abc import Sequence
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from secrets import token_hex
from textwrap import wrap

from server.domain.display import FIRST_STRONG_ISOLATE, POP_ISOLATE

EOL = "\r\n"
# SMTP carries 998 (RFC 5321 section 4.5.3.1.6), but Sendmail breaks lines of more than 990, which
# would break the signature.
_LONGEST_LINE = 980
# How wide plain text is, which many programs don't wrap.
_WIDTH = 72
# The longest Subject that needs no second line of 78 characters.
_LONGEST_SUBJECT = 78 - len("Subject: ")


def constant_headers(sender: Address, languages: Sequence[str]) -> str:
    """Returns the headers that all e-mails in these languages share."""
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["MIME-Version"] = "1.0"
    message["Content-Language"] = ", ".join(languages)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "DR, RN, NRN, OOF, AutoReply"
    return message.as_string().removesuffix(EOL)


def encoded_subject(subject: str) -> str:
    """Returns what stands after Subject:."""
    # What looks like an encoded word must be encoded, or readers would decode it.
    if subject.isascii() and "=?" not in subject and len(subject) <= _LONGEST_SUBJECT:
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode(linesep=EOL)


@lru_cache(1)
def date(at: datetime) -> str:
    """Returns what stands after Date:; `at` has whole seconds, so that one is made once a second."""
    return format_datetime(at)


def ascii_html(text: str) -> str:
    """Returns a text as HTML in ASCII."""
    return in_ascii(escape(text))


def in_ascii(html: str) -> str:
    """HTML can name any character in ASCII, which spares it an encoding."""
    return html.encode("ascii", "xmlcharrefreplace").decode()


def new_boundary() -> str:
    """Returns what stands between parts, which nobody who writes into them can guess."""
    return f"=_{token_hex(12)}"


def folded(text: str) -> str:
    """Returns a plain text in lines of 72 characters; quotations and lines that end in a link stay whole."""
    return EOL.join(
        [line if len(line) <= _WIDTH else EOL.join(_rows(line)) for line in text.split(EOL)]
    )


def _rows(line: str) -> list[str]:
    if line.startswith(">") or len(line.rpartition(" ")[2]) > _WIDTH // 2:
        return [line]
    rows = wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False)
    if FIRST_STRONG_ISOLATE not in line:
        return rows
    # A name that goes on in the next line is isolated there too.
    within = False
    for number, row in enumerate(rows):
        begun = f"{FIRST_STRONG_ISOLATE if within else ''}{row}"
        within = begun.rfind(FIRST_STRONG_ISOLATE) > begun.rfind(POP_ISOLATE)
        rows[number] = begun + (POP_ISOLATE if within else "")
    return rows


def part(subtype: str, text: str) -> str:
    """Returns a text part in ASCII, its headers included."""
    if text.isascii() and max(map(len, text.split(EOL))) <= _LONGEST_LINE:
        encoding = "7bit"
    else:
        encoding = "quoted-printable"
        lines = text.replace(EOL, "\n").encode()
        text = b2a_qp(lines, istext=True).decode().replace("\n", EOL)
    return (
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f"\r\n"
        f"{text}"
    )
