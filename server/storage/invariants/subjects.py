"""The parts that invariants are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, func, not_, or_, select

from server.storage.schema import operations, retention

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Subject:
    """Rows, what names one of them, and for each invariant, by its text, what breaks it.

    A condition that is NULL breaks nothing.
    """

    rows: FromClause
    id: ColumnElement[Any]
    invariants: Mapping[str, Condition]


# What ended before this may have been cleared.
CLEARED_BEFORE = func.coalesce(
    select(retention.c.cleared_before).where(retention.c.name == operations.name).scalar_subquery(),
    0,
)


def missing(rows: FromClause) -> Condition:
    """None of these were joined."""
    return rows.c.id.is_(None)


def differ(*pairs: tuple[ColumnElement[Any], ColumnElement[Any]]) -> Condition:
    """The two of some pair are not the same; NULL is the same as NULL."""
    return or_(*(one.is_distinct_from(other) for one, other in pairs))


def only_one(one: Condition, other: Condition) -> Condition:
    """One of the two holds and the other does not."""
    return or_(and_(one, not_(other)), and_(not_(one), other))
