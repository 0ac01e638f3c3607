"""Lists whose filter is tried row by row: what a page holds, and how many rows it looks at."""

from collections.abc import Collection
from itertools import product

import pytest

from server.storage.interface import Cursor, Listed, Part
from server.storage.sql import bounded_lists
from server.storage.sql.bounded_lists import Step, read_part
from tests.storage.reading import walk

LOOKED_AT = 5


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_lists, "LOOKED_AT", LOOKED_AT)


class Rows:
    """Numbers from 1, of which a filter passes some; `looked_at` are those of one page.

    One read ends before row `cut`, as though those before it had so much text.
    """

    def __init__(self, count: int, passed: Collection[int] = (), cut: int = 1000) -> None:
        self._count, self._passed, self._cut = count, passed, cut
        self.looked_at: list[int] = []

    async def page(self, limit: int, after: Cursor | None) -> Part[int]:
        self.looked_at = []
        return read_part(limit, after, self._read)

    def _read(self, limit: int, after: Cursor | None) -> Step[int]:
        assert limit > 0
        rows = list(range((after or 0) + 1, self._count + 1))[:limit]
        is_cut = self._cut in rows and self._cut > rows[0]
        rows = [row for row in rows if row < self._cut] if is_cut else rows
        self.looked_at += rows
        found = [Listed(row, Cursor(row)) for row in rows if row in self._passed]
        is_end = len(rows) < limit and not is_cut
        return Step(found, None if is_end else Cursor(rows[-1]), is_cut)


async def test_pages_of_any_size_pass_nothing_over() -> None:
    """Whichever rows pass: what the steps of a page find beyond it is the next page's."""
    for passes, limit in product(product((False, True), repeat=9), range(1, 9)):
        passed = [row for row, each in enumerate(passes, 1) if each]
        rows = Rows(len(passes), passed)
        assert await walk(rows.page, limit) == passed, (passed, limit)


@pytest.mark.parametrize("count", range(9))
async def test_a_list_of_any_length_ends(count: int) -> None:
    every = list(range(1, count + 1))
    for limit in range(1, 9):
        assert await walk(Rows(count, every).page, limit) == every
        assert await walk(Rows(count).page, limit) == []


@pytest.mark.parametrize("limit", [1, 2, LOOKED_AT, LOOKED_AT + 1])
async def test_a_page_looks_at_so_many_rows_and_no_more(limit: int) -> None:
    rows = Rows(100)
    part = await rows.page(limit, None)
    most = max(limit, LOOKED_AT)
    assert (part.rows, part.read_to, rows.looked_at) == ([], most, list(range(1, most + 1)))
    rows = Rows(100, [LOOKED_AT])
    assert [each.record for each in (await rows.page(limit, None)).rows] == [LOOKED_AT]


async def test_a_page_that_is_full_looks_no_further() -> None:
    rows = Rows(100, range(1, 101))
    part = await rows.page(2, None)
    assert ([each.record for each in part.rows], part.read_to) == ([1, 2], 2)
    assert rows.looked_at == [1, 2]


async def test_a_page_that_is_not_full_looks_at_as_many_again() -> None:
    rows = Rows(100, [2])
    assert [each.record for each in (await rows.page(1, None)).rows] == [2]
    assert rows.looked_at == [1, 2]


async def test_nothing_is_read_after_as_much_text_as_a_page_may_have() -> None:
    rows = Rows(100, cut=3)
    part = await rows.page(4, None)
    assert (part.rows, part.read_to, rows.looked_at) == ([], 2, [1, 2])
    assert (await rows.page(4, part.read_to)).read_to == 2 + LOOKED_AT
