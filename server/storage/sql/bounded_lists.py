"""Lists with a filter that is tried row by row: a page looks at so many rows at most."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from server.storage.interface.paging import Cursor, Listed, Part

RecordT = TypeVar("RecordT")

# Rows that a page looks at.
LOOKED_AT = 1001


class Step(NamedTuple, Generic[RecordT]):
    """What one read has found.

    read_to: how far it went; None: to the end of the list.
    is_cut: it ended early, since no more may be read for one page.
    """

    found: Sequence[Listed[RecordT]]
    read_to: Cursor | None
    is_cut: bool = False


def read_part(
    limit: int, after: Cursor | None, read: Callable[[int, Cursor | None], Step[RecordT]]
) -> Part[RecordT]:
    """Returns at most `limit` records, past a cursor.

    `read` looks at so many rows, past a cursor, and returns those that meet the filter.
    """
    found: list[Listed[RecordT]] = []
    read_to = after
    for count in _steps(limit):
        step = read(count, read_to)
        found += step.found
        read_to = step.read_to
        if read_to is None or step.is_cut or len(found) >= limit:
            break
    if len(found) > limit:
        return Part(found[:limit], found[limit - 1].cursor)
    return Part(found, read_to)


def _steps(limit: int) -> Iterator[int]:
    """Gives how many rows to read at once: as many as may be enough, then ever more of the others."""
    yield limit
    read = limit
    while read < LOOKED_AT:
        more = min(read, LOOKED_AT - read)
        yield more
        read += more
