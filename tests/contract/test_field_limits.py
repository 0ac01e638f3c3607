"""How the protos write limits, read in one way by server and gateway."""

import pytest

from contract.field_limits import Limit


@pytest.mark.parametrize(
    ("written", "least", "most"),
    [
        ("<=1000", None, 1000),
        ("<1000", None, 999),
        (">=0", 0, None),
        (">0", 1, None),
        ("0-100", 0, 100),
        ("-5--1", -5, -1),
        ("7", 7, 7),
        (" <= 50 ", None, 50),
    ],
)
def test_a_limit_is_read_with_both_bounds_inclusive(
    written: str, least: int | None, most: int | None
) -> None:
    assert Limit.parse(written) == (least, most, written)


@pytest.mark.parametrize("written", ["", "many", "<=", "1-", "=5", "<=1-5", "1..5"])
def test_what_is_no_limit_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not a limit"):
        Limit.parse(written)
