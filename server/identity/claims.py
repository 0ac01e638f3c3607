"""JSON Web Tokens: what all kinds of them must fulfil."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

# How far ahead of ours the clock of one who signs may be.
SKEW = timedelta(seconds=60)

_OPTIONS: Options = {
    # Times are checked here, against the service's clock.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "require": ["exp", "iat"],
    "enforce_minimum_key_length": True,
}


# The library skips other characters in a signature: one token could be spelt in countless ways.
_COMPACT = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]*){2}=*")


# OpenID Connect Core, section 2: at most 255 ASCII characters.
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")


class TokenError(Exception):
    """A token that proves nothing. The text is a class of failure: no part of the token."""


def header(token: str) -> Mapping[str, Any]:
    """Returns the header, which proves nothing yet; raises TokenError if there is none."""
    if not _COMPACT.fullmatch(token):
        raise TokenError("not a token in compact form")
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise _refused(error) from None


def verified(
    token: str,
    key: Any,
    algorithms: Sequence[str],
    now: datetime,
    *,
    audiences: Collection[str] | None = None,
    issuer: str | None = None,
) -> tuple[Mapping[str, Any], datetime]:
    """Returns the claims of a token that holds, and when it ends.

    `key` is a public key of cryptography. A token with an audience that is not asked for is refused.
    Raises TokenError.
    """
    try:
        claims = jwt.decode(
            token, key, algorithms, options=_OPTIONS, audience=audiences, issuer=issuer
        )
    except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as error:
        raise _refused(error) from None
    ends_at = _time(claims, "exp")
    if ends_at <= now:
        raise TokenError("expired")
    if any(_time(claims, name) > now + SKEW for name in ("iat", "nbf") if name in claims):
        raise TokenError("not yet valid")
    return claims, ends_at


def identifier(claims: Mapping[str, Any], name: str) -> str:
    """Returns a claim that names somebody or something; raises TokenError where it can't."""
    value = claims.get(name)
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise TokenError(f"{name} is no identifier")
    return value


def lifetime(claims: Mapping[str, Any]) -> timedelta:
    """Returns how long a verified token holds from when it was issued."""
    return _time(claims, "exp") - _time(claims, "iat")


def signed_part_hash(token: str) -> bytes:
    """Returns the SHA-256 of what a token's signature covers."""
    return hashlib.sha256(token.rpartition(".")[0].encode()).digest()


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims[name]
    # bool is an int, and JSON as Python reads it knows infinity and numbers of any length.
    if type(value) not in (int, float):
        raise TokenError(f"{name} is no time")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise TokenError(f"{name} is no time") from None


def _refused(error: Exception) -> TokenError:
    return TokenError(type(error).__name__)
