"""What filters mean, by the table of truth."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import product

import pytest

from server.domain.filters import And, Comparator, Comparison, Filter, Not, Or, Value, matches


class Color(Enum):
    RED = 1
    BLUE = 2


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD: dict[str, Value] = {"name": "b", "at": NOON, "color": Color.RED, "done": True}


def equal(field: str, value: Value) -> Filter:
    return Comparison(field, Comparator.EQUAL, value)


@pytest.mark.parametrize(
    ("sign", "earlier", "same", "later"),
    [
        ("=", False, True, False),
        ("!=", True, False, True),
        ("<", False, False, True),
        ("<=", False, True, True),
        (">", True, False, False),
        (">=", True, True, False),
    ],
)
def test_comparators_compare_the_field_with_the_value(
    sign: str, earlier: bool, same: bool, later: bool
) -> None:
    hour = timedelta(hours=1)
    for values in ((NOON - hour, NOON, NOON + hour), ("a", "b", "c")):
        field = "at" if NOON in values else "name"
        found = [matches(Comparison(field, Comparator(sign), each), RECORD.get) for each in values]
        assert found == [earlier, same, later]


@pytest.mark.parametrize("comparator", Comparator)
def test_a_comparison_with_a_missing_field_is_false_and_its_negation_true(
    comparator: Comparator,
) -> None:
    comparison = Comparison("customer", comparator, "a")
    assert not matches(comparison, RECORD.get)
    assert matches(Not(comparison), RECORD.get)


def test_enums_and_booleans_are_compared_by_value() -> None:
    assert matches(equal("color", Color.RED), RECORD.get)
    assert not matches(equal("color", Color.BLUE), RECORD.get)
    assert matches(equal("done", True), RECORD.get)
    assert not matches(equal("done", False), RECORD.get)


@pytest.mark.parametrize(
    ("make", "means"),
    [(And, lambda a, b, c: a and b and c), (Or, lambda a, b, c: a or b or c)],
)
def test_and_or_and_not_are_those_of_logic(
    make: type[And] | type[Or], means: Callable[[bool, bool, bool], bool]
) -> None:
    for values in product((True, False), repeat=3):
        condition = make(tuple(equal("done", value) for value in values))
        assert matches(condition, RECORD.get) is means(*values)
        assert matches(Not(condition), RECORD.get) is not means(*values)
