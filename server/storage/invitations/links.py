"""Links to invitations: what the database keeps of their secrets."""

from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from server.storage.schema.tables import (
    CustomerNumber,
    LinkHash,
    LinkNumber,
    LinkRow,
    OperationNumber,
    link_tokens,
)
from server.storage.sql.statements import IDS, Insert, Query, Transaction

INSERT_LINKS = Insert(link_tokens, LinkRow, "n", "hash", "customer", "operation", "created_at")

_TIME_DIGITS = 4
_DIGITS = {digit: value for value, digit in enumerate(b"0123456789abcdefghijklmnopqrstuv")}


class _Count(NamedTuple):
    links: int


_COUNT = Query(
    _Count,
    select(func.count().label("links"))
    .select_from(link_tokens)
    .where(link_tokens.c.customer.in_(IDS), link_tokens.c.operation == bindparam("operation")),
    "operation",
)


def count_links(
    transaction: Transaction, customer: CustomerNumber, operation: OperationNumber
) -> int:
    """Returns how many links an operation has sent, or was the latest for."""
    (found,) = transaction.fetch(_COUNT, [customer], operation=operation)
    return found.links


def link_number(token_hash: bytes) -> LinkNumber:
    """Returns the key of a link's row: 63 bits of `domain.invitations.link_token_hash`.

    Where the secret begins with digits of the time, so does the number: links of one claim stand on
    one page. Whoever looks a link up compares the whole hash.
    """
    number = int.from_bytes(token_hash[-8:]) >> 1
    if len(token_hash) > 32 + 1:
        time = 0
        for digit in token_hash[:_TIME_DIGITS]:
            time = time << 5 | _DIGITS[digit]
        number = time << 43 | number & (1 << 43) - 1
    return LinkNumber(number)


def link_hash(token_hash: bytes) -> LinkHash:
    """Returns a hash as a row holds it."""
    return LinkHash(token_hash)
