"""Pages of lists: how many rows an answer carries, and tokens for the next ones.

A token is opaque, short, and good for the list that it came from alone. It bears a keyed MAC: what
a caller makes up is refused before it is read.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from server.domain.errors import BillingError, invalid_field
from server.storage.interface import Cursor, Listed, Part

DEFAULT_SIZE = 100
LARGEST_SIZE = 1000
# gRPC's clients take no more than 4 MiB by default, and JSON may need six characters for one.
MOST_BYTES = 1 << 20
# A row that is larger all by itself is shown with its texts cut.
LARGEST_ROW_BYTES = 3 << 20
_LONGEST_TEXT = 4096
# Rows that are made messages before other calls have their turn.
_ROWS_IN_TURN = 32

_MAC = 16

# Returns the keys for MACs, the one for new tokens first; if asked to, looks for new ones at once.
Keys = Callable[[bool], Sequence[bytes]]


class _ListRequest(Protocol):
    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


RowT = TypeVar("RowT")
MessageT = TypeVar("MessageT", bound=Message)


def page_size(asked: int) -> int:
    """Returns how many rows a page holds at most: 100 for 0, never more than 1000."""
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


class Pages:
    """Makes pages and their tokens. `scope` is what makes a list the one it is: method, caller, …"""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # Where there is no other, tokens are good for this process.
        self._own = secrets.token_bytes(32)

    async def read(
        self,
        request: _ListRequest,
        scope: Sequence[str],
        rows_after: Callable[[int, Cursor | None], Awaitable[Sequence[Listed[RowT]]]],
        message_of: Callable[[RowT], MessageT],
    ) -> tuple[list[MessageT], str]:
        """Returns the page that a request asks for, and the token of the next one, "" for the last.

        `rows_after` reads so many rows at most, past a cursor. Raises FIELDS_INVALID for the token.
        """
        size = page_size(request.page_size)
        after = self.cursor(request.page_token, *scope)
        rows = await rows_after(size + 1, after)
        return await self.page(rows, size, scope, message_of)

    async def read_part(
        self,
        request: _ListRequest,
        scope: Sequence[str],
        rows_after: Callable[[int, Cursor | None], Awaitable[Part[RowT]]],
        message_of: Callable[[RowT], MessageT],
    ) -> tuple[list[MessageT], str]:
        """Does the same for a list that is read in bounded steps.

        Where such a step ends before the page is full, its token leads on from there.
        """
        size = page_size(request.page_size)
        part = await rows_after(size + 1, self.cursor(request.page_token, *scope))
        messages, token = await self.page(part.rows, size, scope, message_of)
        if not token and part.read_to is not None:
            token = self.token(part.read_to, scope)
        return messages, token

    def cursor(self, token: str, *scope: str) -> Cursor | None:
        """Returns where a token's page begins, None for the first page.

        Raises FIELDS_INVALID for what is no token of this list, or was made with a key that is gone.
        """
        if not token:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _bad_token() from None
        if token != _written(raw):
            raise _bad_token()  # base64 knows other spellings of the same bytes
        mac, place = raw[:_MAC], raw[_MAC:]
        if not any(self._is_ours(mac, place, scope, at_once) for at_once in (False, True)):
            raise _bad_token()
        return Cursor(int.from_bytes(place, signed=True))

    async def page(
        self,
        rows: Sequence[Listed[RowT]],
        size: int,
        scope: Sequence[str],
        message_of: Callable[[RowT], MessageT],
    ) -> tuple[list[MessageT], str]:
        """Returns the messages of a page, and the token of the next one, "" for the last.

        `rows` are read one past the page. A page ends early rather than exceed what an answer may
        carry; whoever read the rows may have left some out for the same reason.
        """
        messages: list[MessageT] = []
        total = 0
        for row in rows[:size]:
            if len(messages) % _ROWS_IN_TURN == _ROWS_IN_TURN - 1:
                await asyncio.sleep(0)
            message = message_of(row.record)
            total += message.ByteSize()
            if messages and total > MOST_BYTES:
                break
            if total > LARGEST_ROW_BYTES:
                _shorten(message)
            messages.append(message)
        if len(messages) == len(rows) and total <= MOST_BYTES:
            return messages, ""
        return messages, self.token(rows[len(messages) - 1].cursor, scope)

    def token(self, last: Cursor, scope: Sequence[str]) -> str:
        """Returns the token of the page that begins after a row."""
        place = last.to_bytes(8, signed=True)
        raw = _mac(self._secrets(False)[0], scope, place) + place
        return _written(raw)

    def _is_ours(self, mac: bytes, place: bytes, scope: Sequence[str], at_once: bool) -> bool:
        return any(
            hmac.compare_digest(mac, _mac(key, scope, place)) for key in self._secrets(at_once)
        )

    def _secrets(self, at_once: bool) -> Sequence[bytes]:
        return self._keys(at_once) or [self._own]


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _mac(key: bytes, scope: Sequence[str], place: bytes) -> bytes:
    parts = "\0".join(scope).encode() + b"\0" + place
    return hashlib.blake2b(parts, key=key, digest_size=_MAC).digest()


def _shorten(message: Message) -> None:
    """Cuts the texts of a message, and of those in it, to what a request may hold today."""
    for field, value in message.ListFields():
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_STRING and len(value) > _LONGEST_TEXT:
            setattr(message, field.name, value[: _LONGEST_TEXT - 1] + "…")
        elif field.message_type:
            _shorten(value)


def _bad_token() -> BillingError:
    return invalid_field(
        "page_token",
        "Must be the next page token of the same list, asked for with the same parent, filter and "
        "order, or empty for the first page; begin anew if it is old.",
    )
