import pytest

from server.domain.errors import BillingError, Reason
from server.rpc.messages.filters import parse_filter

FIELDS = ("state", "email")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("   ", {}),
        ("state = PENDING", {"state": "PENDING"}),
        ("state=PENDING", {"state": "PENDING"}),
        ('state="PENDING"', {"state": "PENDING"}),
        ("email = a+b@example.com", {"email": "a+b@example.com"}),
        (' email = "a b" ', {"email": "a b"}),
        ("email = 'a \"b\"'", {"email": 'a "b"'}),
        ('email = ""', {"email": ""}),
        (r'email = "a\"b\\c"', {"email": 'a"b\\c'}),
        ('state = A AND email="b"', {"state": "A", "email": "b"}),
        ('email="b"AND state=A', {"email": "b", "state": "A"}),
        ('email = "x AND state = y"', {"email": "x AND state = y"}),
    ],
)
def test_filters_are_read(text: str, found: dict[str, str]) -> None:
    assert parse_filter(text, FIELDS) == found


@pytest.mark.parametrize(
    "text",
    [
        *("PENDING", "state", "state =", "= PENDING", "state = A B", "state = (A)", "state == A"),
        *("state = A AND", "AND state = A", "state = A AND AND email = b", "state = A email = b"),
        *("state = A OR email = b", "NOT state = A", "state != A", "state > A", "name = b"),
        *("state = A AND state = B", 'email = "a', 'email = a"', "State = A", "state = A ANDx = b"),
        *("state = A and email = b", "\0", "email = '", "(state = A)"),
    ],
)
def test_other_filters_are_refused_with_what_is_wrong(text: str) -> None:
    with pytest.raises(BillingError) as refused:
        parse_filter(text, FIELDS)
    assert refused.value.reason is Reason.FIELDS_INVALID
    assert [violation.field for violation in refused.value.fields] == ["filter"]


def test_a_long_one_takes_no_long_time() -> None:
    for text in ("state = A " * 100_000, 'email = "' + "\\" * 999_999, " " * 1_000_000 + "x"):
        with pytest.raises(BillingError):
            parse_filter(text, FIELDS)
