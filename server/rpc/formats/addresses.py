"""E-mail addresses as they are sent: syntax, and the form that they are kept in.

When two are the same is told by `server.domain.addresses`.
"""

import re

import email_validator

# Plain addresses: the library, asked, finds nothing to say about these and gives them back as they
# are. It takes fifty times as long to do so. The + after a count: nothing is tried a second time.
_PLAIN = re.compile(
    r"(?P<local>[a-z0-9_+-]++(?:\.[a-z0-9_+-]++)*+)"
    r"@(?:[a-z0-9]++(?:-[a-z0-9]++)*+\.)+(?P<top>[a-z]{2,})"
)
_SPECIAL_TOPS = {name.rpartition(".")[2] for name in email_validator.SPECIAL_USE_DOMAIN_NAMES}
LONGEST = 254
_LONGEST_LOCAL_PART = 64
# Of a plain one, with its @: so no label of it is longer than it may be.
_LONGEST_DOMAIN = 64


def normal_address(address: str) -> str:
    """Returns an e-mail address in normal form (Unicode NFC, domain in lower case).

    Raises email_validator.EmailNotValidError for what is none.
    """
    return address if is_plain(address) else parse(address).normalized


def address_or_none(text: str) -> str | None:
    """Returns an e-mail address in normal form; None for what is no address."""
    try:
        return normal_address(text)
    except email_validator.EmailNotValidError:
        return None


def is_plain(address: str) -> bool:
    """Tells whether an address is right and in normal form already, without asking the library."""
    if len(address) > _LONGEST_LOCAL_PART + _LONGEST_DOMAIN:
        return False
    plain = _PLAIN.fullmatch(address)
    return (
        plain is not None
        and len(plain["local"]) <= _LONGEST_LOCAL_PART
        and len(address) - len(plain["local"]) <= _LONGEST_DOMAIN
        and plain["top"] not in _SPECIAL_TOPS
    )


def parse(address: str) -> email_validator.ValidatedEmail:
    """Returns what the library finds; raises EmailNotValidError."""
    if len(address) > LONGEST:  # before its letters are looked at: that takes long
        raise email_validator.EmailSyntaxError(f"It is longer than {LONGEST} characters.")
    # test_environment lets .test domains through; nothing is looked up in DNS.
    return email_validator.validate_email(
        address, check_deliverability=False, test_environment=True, strict=True
    )
