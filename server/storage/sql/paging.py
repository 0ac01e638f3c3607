"""Pages of rows by number, newest first."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, CompoundSelect, Select, bindparam, literal_column, union_all

from server.storage.interface.paging import Cursor, Listed

RecordT = TypeVar("RecordT")


class _Numbered(Protocol):
    @property
    def n(self) -> int: ...


RowT = TypeVar("RowT", bound=_Numbered)


def newest_first(parts: Sequence[Select[Any]]) -> Select[Any] | CompoundSelect[Any]:
    """Returns the first `limit` rows of several lists in the order of an index, merged by number.

    The first column is the number. The databases read the lists side by side, and no more of each than is asked for.
    """
    newest: ColumnElement[int] = literal_column("1").desc()  # the first column
    if len(parts) == 1:
        return parts[0].order_by(parts[0].selected_columns.n.desc()).limit(bindparam("limit"))
    return union_all(*parts).order_by(newest).limit(bindparam("limit"))


def listed(rows: Iterable[RowT], record: Callable[[RowT], RecordT]) -> list[Listed[RecordT]]:
    """Returns the records of rows, each with its cursor."""
    return [Listed(record(row), Cursor(row.n)) for row in rows]
