"""Addresses and links as e-mails can have them."""

import re
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from email_validator import EmailNotValidError, validate_email

from server.worker.mail.mailer import MailRefusedError

_DOMAIN = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(\.(?!-)[\w-]{1,63}(?<!-))*", re.ASCII)
_LONGEST_DOMAIN = 253
ASCII_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+", re.ASCII)


class MessageSettingError(ValueError):
    """A sender, link or language that can't be used; one line that says why."""


def _ascii_address(address: str) -> str:
    """Returns the address with its domain in A-labels, unless what is before the @ is not ASCII.

    Raises EmailNotValidError.
    """
    if address.isascii():
        if not ASCII_ADDRESS.fullmatch(address):
            raise EmailNotValidError
        return address
    # test_environment lets .test domains through; nothing is looked up in DNS.
    valid = validate_email(address, check_deliverability=False, test_environment=True)
    return valid.ascii_email or valid.normalized


def parse_sender(sender: str) -> tuple[str, str]:
    """Returns display name and address, the latter in ASCII. Raises MessageSettingError."""
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
    domain = address.rpartition("@")[2]
    if len(domain) > _LONGEST_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise MessageSettingError("the sender's domain must be a name like example.com")
    return header.addresses[0].display_name, address


def parse_support(address: str) -> str:
    """Returns the address as it stands in a header. Raises MessageSettingError."""
    try:
        parsed = _ascii_address(address)
    except EmailNotValidError:
        parsed = ""
    if not parsed.isascii() or not parsed:
        raise MessageSettingError("the address for questions must be ASCII before the @")
    return parsed


def parse_recipient(address: str) -> str:
    """Returns the address as Mail wants it. Raises MailRefusedError."""
    try:
        return _ascii_address(address)
    except EmailNotValidError:
        raise MailRefusedError("address", detail="not an e-mail address") from None
