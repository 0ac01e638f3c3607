"""Pages of rows by number."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Select,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)

from server.storage.interface.paging import Cursor, Listed

RecordT = TypeVar("RecordT")

_ONE: ColumnElement[int] = literal_column("1")


class _Numbered(Protocol):
    @property
    def n(self) -> int: ...


RowT = TypeVar("RowT", bound=_Numbered)


class Run(NamedTuple):
    """Rows that stand side by side in an index: equal in its first columns, then by number."""

    equal: Mapping[Column[Any], Any]
    conditions: Sequence[ColumnElement[bool]] = ()


def first(
    rows: Select[Any], number: ColumnElement[int], *, oldest_first: bool = False
) -> Select[Any]:
    """Returns the first `limit` rows in the order of their numbers, the newest before the oldest."""
    return rows.order_by(_ordered(number, oldest_first)).limit(bindparam("limit"))


def past(number: ColumnElement[int], *, oldest_first: bool = False) -> ColumnElement[bool]:
    """Returns the condition that a row stands past the one with the number `after`."""
    after = bindparam("after", type_=number.type)
    return number > after if oldest_first else number < after


def merged(
    rows: Select[Any],
    number: Column[int],
    runs: Sequence[Run],
    *,
    most: int,
    is_sqlite: bool,
    past_first: bool,
    oldest_first: bool = False,
) -> Select[Any] | CompoundSelect[Any]:
    """Returns what `first` does, but of several runs of rows; with `past_first` past the number `after`.

    `number` is the first column of `rows`, and `limit` is `most` at most. No more is read of a run than
    that, however many rows there are: SQLite reads runs side by side. PostgreSQL would read and sort
    them whole, or read all rows by number and leave out what is not asked for; so it looks for the
    numbers alone first, by conditions and an order that nothing but the index of the runs has.
    """
    after = bindparam("after", type_=number.type)
    if is_sqlite:
        parts = []
        for run in runs:
            part = rows.where(*(column == value for column, value in run.equal.items()))
            if past_first:
                part = part.where(past(number, oldest_first=oldest_first))
            parts.append(part.where(*run.conditions))
        if len(parts) == 1:
            return first(parts[0], number, oldest_first=oldest_first)
        return _united(parts, bindparam("limit"), oldest_first)
    found = []
    for run in runs:
        columns, values = zip(*run.equal.items(), strict=True)
        key = tuple_(*columns)
        begin, end = key >= tuple_(*values), key <= tuple_(*values)
        if past_first:
            # With the next place, not past this one: PostgreSQL, which looks at the first column alone,
            # would expect next to no rows behind it, and so plan each call anew as well.
            whole = tuple_(*columns, number)
            if oldest_first:
                begin = whole >= tuple_(*values, after + _ONE)
            else:
                end = whole <= tuple_(*values, after - _ONE)
        part = select(number).where(begin, end)
        order = (_ordered(column, oldest_first) for column in (*columns, number))
        found.append(part.where(*run.conditions).order_by(*order).limit(as_text(most)))
    page = found[0] if len(found) == 1 else _united(found, as_text(most), oldest_first)
    # As an array, for which it looks in the table number by number, however many it expects.
    numbers = func.array(page.scalar_subquery())
    return first(rows.where(number == any_(numbers)), number, oldest_first=oldest_first)


def rounded(limit: int) -> int:
    """Returns the next power of two, so that few statements serve all limits that are in their texts."""
    return 1 << (limit - 1).bit_length()


def as_text(limit: int) -> ColumnElement[int]:
    """Returns a limit as a part of a statement's text.

    Of one that is a parameter PostgreSQL expects a tenth of all rows. In a large database it would so
    think that a plan for all limits costs more than one for each, and make one for each call, which
    takes as long as what the call does.
    """
    return literal_column(str(limit))


def _united(
    parts: Sequence[Select[Any]], limit: ColumnElement[int], oldest_first: bool
) -> CompoundSelect[Any]:
    number: ColumnElement[int] = literal_column("1")  # the first column
    return union_all(*parts).order_by(_ordered(number, oldest_first)).limit(limit)


def _ordered(column: ColumnElement[Any], oldest_first: bool) -> ColumnElement[Any]:
    return column.asc() if oldest_first else column.desc()


def listed(rows: Iterable[RowT], record: Callable[[RowT], RecordT]) -> list[Listed[RecordT]]:
    """Returns the records of rows, each with its cursor."""
    return [Listed(record(row), Cursor(row.n)) for row in rows]
