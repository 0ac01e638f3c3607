"""The parts that checks are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, FromClause, and_, func, not_, or_, select

from server.storage.schema.tables import CLEARED_OPERATIONS, retention
from server.storage.schema.tables import LOGGED_SINCE as EVENTS_SINCE
from server.storage.sql.statements import Query

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Check:
    """Rows, what names one of them, and for each invariant, by its text, what breaks it.

    A condition that is NULL breaks nothing.
    """

    rows: FromClause
    id: ColumnElement[Any]
    invariants: Mapping[str, Condition]


class Finder(Protocol):
    """Finds what breaks invariants."""

    def __call__(self, rows: Iterable[Any]) -> Iterable[tuple[str, str]]:
        """Yields the invariant and what names the row, for each row that breaks one."""
        ...


@dataclass(frozen=True, slots=True)
class RowCheck:
    """Invariants that only Python can tell: `find` sees all rows of the query, in its order."""

    query: Query[Any]
    invariants: tuple[str, ...]
    find: Finder


# What ended before this may have been cleared.
CLEARED_BEFORE = func.coalesce(
    select(retention.c.value).where(retention.c.name == CLEARED_OPERATIONS).scalar_subquery(),
    0,
)

# What changed before this may have no event, or none any more.
LOGGED_SINCE = func.coalesce(
    select(retention.c.value).where(retention.c.name == EVENTS_SINCE).scalar_subquery(), 0
)


def missing(rows: FromClause) -> Condition:
    """None of these were joined."""
    (key, *_) = rows.primary_key
    return key.is_(None)


def differ(*pairs: tuple[ColumnElement[Any], ColumnElement[Any]]) -> Condition:
    """The two of some pair are not the same; NULL is the same as NULL."""
    return or_(*(one.is_distinct_from(other) for one, other in pairs))


def only_one(one: Condition, other: Condition) -> Condition:
    """One of the two holds and the other does not."""
    return or_(and_(one, not_(other)), and_(not_(one), other))
