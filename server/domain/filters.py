"""Filters of lists: a condition on the fields of a record, whatever it was written in.

A list evaluates it in memory (`matches`), or translates it into a query by the same rules: a
comparison with a field that the record does not have is false, also by `!=`; NOT makes that true.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, TypeVar

# What a field is compared with; of the type that the field has.
Value = str | bool | datetime | Enum
ValueT = TypeVar("ValueT", bound=Value)


class Comparator(StrEnum):
    """How a field is compared with a value."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    """`createTime > 2026-03-01T00:00:00Z`. `field` is its path in JSON: `actor.subject`."""

    field: str
    comparator: Comparator
    value: Value


@dataclass(frozen=True, slots=True)
class Present:
    """`labels:tier`: true where the record has the field."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """True where the condition is not."""

    condition: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """True where all of the conditions are: two or more."""

    conditions: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where one of the conditions is: two or more."""

    conditions: tuple["Filter", ...]


Filter = Comparison | Present | Not | And | Or

# On values, or on columns of SQL: those give a condition in place of a bool.
COMPARE: Mapping[Comparator, Callable[[Any, Any], Any]] = {
    Comparator.EQUAL: operator.eq,
    Comparator.UNEQUAL: operator.ne,
    Comparator.LESS: operator.lt,
    Comparator.LESS_OR_EQUAL: operator.le,
    Comparator.GREATER: operator.gt,
    Comparator.GREATER_OR_EQUAL: operator.ge,
}


def matches(condition: Filter, value_of: Callable[[str], Value | None]) -> bool:
    """Tells whether a record meets the condition.

    `value_of` returns the record's value of a field, of the type that the condition compares it
    with, or None where the record has none.
    """
    match condition:
        case Comparison(field, comparator, value):
            actual = value_of(field)
            return actual is not None and bool(COMPARE[comparator](actual, value))
        case Present(field):
            return value_of(field) is not None
        case Not(negated):
            return not matches(negated, value_of)
        case And(conditions):
            return all(matches(each, value_of) for each in conditions)
        case Or(conditions):
            return any(matches(each, value_of) for each in conditions)


def names_field(condition: Filter | None, field: str) -> bool:
    """Tells whether a condition says anything of the field."""
    match condition:
        case Comparison(name) | Present(name):
            return name == field
        case Not(negated):
            return names_field(negated, field)
        case And(conditions) | Or(conditions):
            return any(names_field(each, field) for each in conditions)
    return False


def required_value(condition: Filter | None, field: str, type_: type[ValueT]) -> ValueT | None:
    """Returns what the field is equal to in all that meets the condition, if it says so."""
    match condition:
        case Comparison(name, Comparator.EQUAL, value) if name == field:
            return value if isinstance(value, type_) else None
        case And(conditions):
            found = (required_value(each, field, type_) for each in conditions)
            return next((value for value in found if value is not None), None)
    return None


def possible_values(
    condition: Filter | None, field: str, every: frozenset[ValueT]
) -> frozenset[ValueT]:
    """Returns the values of a field that always has one, of all that meets the condition.

    More of them, where that is unclear.
    """
    match condition:
        case Comparison(name, comparator, value) if name == field:
            return frozenset(each for each in every if COMPARE[comparator](each, value))
        case Not(Comparison(name) as negated) if name == field:
            return every - possible_values(negated, field, every)
        case And(conditions):
            return every.intersection(*(possible_values(each, field, every) for each in conditions))
        case Or(conditions):
            return frozenset().union(*(possible_values(each, field, every) for each in conditions))
    return every
