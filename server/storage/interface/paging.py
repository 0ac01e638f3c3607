"""Pages of lists."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, NewType, TypeVar

RecordT = TypeVar("RecordT")

# Where a page ends: its last row. Nobody may see it unauthenticated.
Cursor = NewType("Cursor", int)

# Characters of text (JSON's escapes among them) that a list reads at most, but for the last row: six
# times what an answer carries and more, so that who makes the answer always ends it earlier.
MAX_LIST_CHARACTERS = 8 << 20


class Listed(NamedTuple, Generic[RecordT]):
    """A record of a list, and the cursor for what comes after it."""

    record: RecordT
    cursor: Cursor


class Part(NamedTuple, Generic[RecordT]):
    """A part of a list that was read in bounded steps, which can end before the page is full.

    read_to: how far it was read; None: to the end of the list.
    """

    rows: Sequence[Listed[RecordT]]
    read_to: Cursor | None
