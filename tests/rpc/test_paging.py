"""Pages of lists and their tokens."""

import base64
from dataclasses import dataclass

import pytest
from billing.v1 import customer_pb2, event_service_pb2
from hypothesis import given
from hypothesis import strategies as st

from server.domain.errors import BillingError
from server.rpc.messages import paging
from server.storage.interface import Cursor, Listed

KEYS = [b"k" * 32]
SCOPE = ("list", "r1")


@dataclass
class Row:
    id: str
    name: str = ""


def listed(*rows: Row) -> list[Listed[Row]]:
    return [Listed(row, Cursor(number)) for number, row in enumerate(rows)]


RECORDS = [Row(f"bcu{'v' * 16}{n}") for n in range(3)]
ROWS = listed(*RECORDS)


def pages(keys: list[bytes] = KEYS) -> paging.Pages:
    return paging.Pages(lambda _at_once: keys)


def message(row: Row) -> customer_pb2.Customer:
    made = customer_pb2.Customer(name=row.id, display_name=row.name)
    made.person.longname = row.name
    return made


async def token_of(made: paging.Pages, *scope: str) -> str:
    _, token = await made.page(ROWS, 2, scope or SCOPE, message)
    return token


async def test_the_last_page_has_no_token() -> None:
    found, token = await pages().page(ROWS, 3, SCOPE, message)
    assert [each.name for each in found] == [row.id for row in RECORDS]
    assert token == ""
    assert await pages().page([], 3, SCOPE, message) == ([], "")


async def test_a_token_leads_past_the_last_row() -> None:
    found, token = await pages().page(ROWS, 2, SCOPE, message)
    assert [each.name for each in found] == [row.id for row in RECORDS[:2]]
    assert 0 < len(token) <= 100
    assert pages().cursor(token, *SCOPE) == ROWS[1].cursor


async def test_pages_of_a_list_in_turn_hold_all_its_rows() -> None:
    async def rows_after(most: int, after: Cursor | None) -> list[Listed[Row]]:
        return [row for row in ROWS if after is None or row.cursor > after][:most]

    request = event_service_pb2.ListEventsRequest(page_size=1)
    found = []
    for _ in ROWS:
        page, request.page_token = await pages().read(request, SCOPE, rows_after, message)
        found += [each.name for each in page]
    assert found == [row.id for row in RECORDS]
    assert request.page_token == ""


@pytest.mark.parametrize("scope", [("list", "r2"), ("other", "r1"), ("list", "r", "1")])
async def test_a_token_of_another_list_is_refused(scope: tuple[str, ...]) -> None:
    token = await token_of(pages())
    with pytest.raises(BillingError):
        pages().cursor(token, *scope)


@given(st.text(min_size=1, max_size=100))
def test_any_other_text_is_refused(token: str) -> None:
    with pytest.raises(BillingError) as refused:
        pages().cursor(token, *SCOPE)
    assert [violation.field for violation in refused.value.fields] == ["page_token"]


async def test_no_bit_of_a_token_can_be_changed() -> None:
    token = await token_of(pages())
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        bent = bytearray(raw)
        bent[place] ^= 1
        with pytest.raises(BillingError):
            pages().cursor(base64.urlsafe_b64encode(bent).decode().rstrip("="), *SCOPE)
    for length in range(1, len(token)):
        with pytest.raises(BillingError):
            pages().cursor(token[:length], *SCOPE)


def test_a_token_has_one_spelling() -> None:
    tokens = [pages().token(Cursor(number), SCOPE) for number in range(100)]
    assert set("-_") <= set("".join(tokens))
    for token in tokens:
        assert pages().cursor(token, *SCOPE) is not None
        spellings = (f"{token}=", f"{token}==", token.replace("-", "+"), token.replace("_", "/"))
        for other in {*spellings} - {token}:
            with pytest.raises(BillingError):
                pages().cursor(other, *SCOPE)


async def test_who_knows_the_form_but_no_key_forges_nothing() -> None:
    forged = await token_of(pages([b"guess" * 6]))
    with pytest.raises(BillingError):
        pages().cursor(forged, *SCOPE)


async def test_tokens_outlive_a_rotation_until_their_key_is_gone() -> None:
    old = await token_of(pages())
    new = [b"n" * 32]
    assert pages(new + KEYS).cursor(old, *SCOPE)
    with pytest.raises(BillingError):
        pages(new).cursor(old, *SCOPE)
    assert pages(new).cursor(await token_of(pages(new + KEYS)), *SCOPE)


async def test_a_key_that_another_process_has_just_made_is_looked_for() -> None:
    token = await token_of(pages([b"n" * 32]))
    looking = paging.Pages(lambda at_once: [b"n" * 32, *KEYS] if at_once else KEYS)
    assert looking.cursor(token, *SCOPE)


async def test_without_any_key_tokens_are_good_for_the_process() -> None:
    alone = pages([])
    token = await token_of(alone)
    assert alone.cursor(token, *SCOPE)
    with pytest.raises(BillingError):
        pages([]).cursor(token, *SCOPE)


async def test_a_page_ends_before_it_is_too_large() -> None:
    rows = listed(*(Row(f"c{n}", "ж" * 100_000) for n in range(10)))
    seen: list[str] = []
    left = rows
    while True:
        found, token = await pages().page(left, 100, SCOPE, message)
        assert sum(each.ByteSize() for each in found) <= paging.MOST_BYTES
        seen += [each.name for each in found]
        if not token:
            break
        at = pages().cursor(token, *SCOPE)
        assert at is not None
        left = rows[at + 1 :]
    assert seen == [row.record.id for row in rows]


async def test_a_row_that_is_too_large_by_itself_is_cut() -> None:
    rows = listed(Row("small"), Row("huge", "x" * (2 << 20)))
    (first,), token = await pages().page(rows, 2, SCOPE, message)
    assert first.name == "small"
    assert token
    (huge,), token = await pages().page(rows[1:], 2, SCOPE, message)
    assert token  # there may be more that was not read
    assert huge.ByteSize() < 10_000
    assert huge.person.longname.startswith("xxx")
    assert huge.display_name.endswith("…")


@pytest.mark.parametrize(("asked", "given_"), [(0, 100), (1, 1), (1000, 1000), (5000, 1000)])
def test_a_page_has_100_rows_by_default_and_1000_at_most(asked: int, given_: int) -> None:
    assert paging.page_size(asked) == given_
