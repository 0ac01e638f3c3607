from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api import paging
from server.domain.errors import BillingError
from server.storage.interface import Cursor


@dataclass
class Row:
    id: str
    created_at: datetime


ROWS = [Row(f"bcu{'v' * 16}{n}", datetime(2030, 1, 1, 0, 0, n, 123456, UTC)) for n in range(3)]


def test_the_last_page_has_no_token() -> None:
    assert paging.cut(ROWS, 3, "scope") == (ROWS, "")


def test_a_token_leads_past_the_last_row() -> None:
    page, token = paging.cut(ROWS, 2, "list", "r1")
    assert page == ROWS[:2]
    assert 0 < len(token) <= 100
    assert paging.cursor(token, "list", "r1") == Cursor(ROWS[1].created_at, ROWS[1].id)


@pytest.mark.parametrize("scope", [("list", "r2"), ("other", "r1"), ("list", "r", "1")])
def test_a_token_of_another_list_is_refused(scope: tuple[str, ...]) -> None:
    _, token = paging.cut(ROWS, 2, "list", "r1")
    with pytest.raises(BillingError):
        paging.cursor(token, *scope)


@given(st.text(min_size=1, max_size=100))
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(BillingError) as refused:
        paging.cursor(token, "list", "r1")
    assert [violation.field for violation in refused.value.fields] == ["page_token"]


def test_a_token_cut_short_is_refused() -> None:
    _, token = paging.cut(ROWS, 2, "list", "r1")
    for length in range(1, len(token)):
        with pytest.raises(BillingError):
            paging.cursor(token[:length], "list", "r1")


@given(st.binary(max_size=70))
def test_no_token_of_the_right_list_breaks_it(raw: bytes) -> None:
    import base64

    token = base64.urlsafe_b64encode(paging._digest(("l",), raw) + raw).decode().rstrip("=")
    try:
        found = paging.cursor(token, "l")
    except BillingError:
        return
    assert found is not None
    assert found.created_at.tzinfo is UTC


@pytest.mark.parametrize(("asked", "given_"), [(0, 100), (1, 1), (1000, 1000), (5000, 1000)])
def test_page_sizes(asked: int, given_: int) -> None:
    assert paging.page_size(asked) == given_


def test_negative_page_sizes_are_refused() -> None:
    with pytest.raises(BillingError):
        paging.page_size(-1)
