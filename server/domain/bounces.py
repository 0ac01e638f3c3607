"""Bounces: what comes back of an e-mail, and the secret in the address that it comes back to.

Each e-mail's envelope has a sender of its own, `b-{token}@{domain}` (VERP). The token names the link
in the e-mail and is signed with what is kept of the link's secret: it can't be guessed, tells nothing
of the link, and holds as long as the link's record.
"""

import base64
import binascii
import hashlib
import hmac
from typing import NamedTuple

_PREFIX = "b-"
_NUMBER_BYTES = 8
_PROOF_BYTES = 12
_TOKEN_CHARACTERS = 32  # of base32, five bits each
_PURPOSE = b"bounce"


class BounceToken(NamedTuple):
    """The link's number and the proof that whoever has the token got the e-mail or its bounce."""

    number: int
    proof: bytes


class BounceReport(NamedTuple):
    """What a mail server, or a relay, tells of an e-mail.

    came_back: it did not arrive, and will not; otherwise it is late, or is_unwanted.
    about_recipient: no e-mail would: there is no such mailbox, or it is full or disabled.
    smtp_code, status (enhanced, RFC 3463): of the diagnostic, where there is one.
    is_unwanted: it arrived, and its reader has said that it is spam.
    """

    came_back: bool
    about_recipient: bool = False
    smtp_code: int | None = None
    status: str | None = None
    is_unwanted: bool = False


class BounceOutcome(NamedTuple):
    """What became of a report: `is_recorded`, or it changed nothing.

    `too_early`: the e-mail that it tells of is not recorded as sent yet; it should come again.
    `invitation_id` is None for a token that proves nothing, and `operation_id`, whose e-mail it is, for
    one whose record is cleared.
    """

    invitation_id: str | None = None
    is_recorded: bool = False
    too_early: bool = False
    operation_id: str | None = None
    customer_id: str | None = None
    reseller_id: str | None = None


def bounce_local_part(number: int, token_hash: bytes) -> str:
    """Returns what stands before the @ of an e-mail's sender; the hash is that of its link."""
    token = number.to_bytes(_NUMBER_BYTES) + _proof(token_hash)
    return _PREFIX + base64.b32hexencode(token).decode().lower()


def parse_bounce_local_part(text: str) -> BounceToken | None:
    """Returns the token before the @, None for anything else; mail servers may change its case."""
    text = text.lower()
    if not text.startswith(_PREFIX) or len(text) != len(_PREFIX) + _TOKEN_CHARACTERS:
        return None
    try:
        token = base64.b32hexdecode(text[len(_PREFIX) :].upper())
    except (binascii.Error, ValueError):
        return None
    return BounceToken(int.from_bytes(token[:_NUMBER_BYTES]), token[_NUMBER_BYTES:])


def proves(token: BounceToken, token_hash: bytes) -> bool:
    """Tells whether a token is that of the link with this hash."""
    return hmac.compare_digest(token.proof, _proof(token_hash))


def _proof(token_hash: bytes) -> bytes:
    return hmac.digest(token_hash, _PURPOSE, hashlib.sha256)[:_PROOF_BYTES]
