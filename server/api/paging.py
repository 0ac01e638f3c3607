"""Page tokens: opaque, short, and good for the list that they came from alone."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from server.domain.errors import BillingError, FieldViolation, Reason
from server.storage.interface import Cursor

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGEST = 8


class _Row(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


RowT = TypeVar("RowT", bound=_Row)


def page_size(asked: int) -> int:
    """Returns how many rows a page holds: 100 for 0, at most 1000; raises for less than 0."""
    if asked < 0:
        raise BillingError(
            Reason.FIELDS_INVALID,
            "The request has fields that are not valid.",
            fields=[FieldViolation("page_size", "Must be 0, which means 100, or more.")],
        )
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def cut(rows: Sequence[RowT], size: int, *scope: str) -> tuple[Sequence[RowT], str]:
    """Cuts rows, read one past the page, to the page; returns them and the next page's token.

    `scope` is what makes the list the one it is: method, caller, parent, filter.
    """
    if len(rows) <= size:
        return rows, ""
    last = rows[size - 1]
    at = (last.created_at - _EPOCH) // _MICROSECOND
    place = at.to_bytes(8) + last.id.encode()
    raw = _digest(scope, place) + place
    return rows[:size], base64.urlsafe_b64encode(raw).decode().rstrip("=")


def cursor(token: str, *scope: str) -> Cursor | None:
    """Returns where a token's page begins, None for the first; raises for a token of another list."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        last = raw[_DIGEST + 8 :].decode()
        at = _EPOCH + int.from_bytes(raw[_DIGEST : _DIGEST + 8]) * _MICROSECOND
    except (binascii.Error, ValueError, OverflowError):
        raise _bad_token() from None
    if raw[:_DIGEST] != _digest(scope, raw[_DIGEST:]) or not last:
        raise _bad_token()
    return Cursor(at, last)


def _digest(scope: Sequence[str], place: bytes) -> bytes:
    return hashlib.blake2b("\0".join(scope).encode() + b"\0" + place, digest_size=_DIGEST).digest()


def _bad_token() -> BillingError:
    return BillingError(
        Reason.FIELDS_INVALID,
        "The request has fields that are not valid.",
        fields=[
            FieldViolation(
                "page_token",
                "Must be the next page token of the same list, or empty for the first page.",
            )
        ],
    )
