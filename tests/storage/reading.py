"""Reading lists whole, and how much that reads: SQLite's steps, rows of PostgreSQL's tables."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from server.storage.interface import Cursor, Part
from server.storage.sql.statements import Query, Transaction
from server.storage.storage import SqlStorage
from tests.storage.records import records

PageT = TypeVar("PageT")
RecordT = TypeVar("RecordT")

# Awaits a call, and returns how many rows its statements have read.
RowsRead = Callable[[Awaitable[Any]], Awaitable[int]]


async def walk(
    read: Callable[[int, Cursor | None], Awaitable[Part[RecordT]]], limit: int
) -> list[RecordT]:
    """Returns a whole list, read in pages of so many records at most."""
    found: list[RecordT] = []
    after = None
    while True:
        part = await read(limit, after)
        assert len(part.rows) <= limit
        found += records(part.rows)
        if part.read_to is None:
            return found
        assert part.read_to != after
        after = part.read_to


def numbers(database_url: str, count: int) -> str:
    """Returns SQL for a table `g` of the numbers `i` from 1."""
    if database_url.startswith("postgresql"):
        return f"generate_series(1, {count}) AS g(i)"
    return (
        f"(WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {count}) "
        "SELECT i FROM g) AS g"
    )


async def slower_among_many(
    storage: SqlStorage,
    handler: Callable[[Transaction, Sequence[PageT]], list[Any]],
    pages: Mapping[str, PageT],
    have: Callable[[int], None],
) -> set[str]:
    """Returns the names of pages that take SQLite more steps once there are forty thousand rows.

    `have` is called with how many rows there are to be.
    """
    taken: list[dict[str, int]] = []
    for count in (2_000, 40_000):
        have(count)
        taken.append({name: await steps(storage, handler, page) for name, page in pages.items()})
    few, lots = taken
    return {name for name in pages if lots[name] > 1.2 * few[name] + 20}


async def steps(
    storage: SqlStorage, handler: Callable[[Transaction, Sequence[PageT]], list[Any]], page: PageT
) -> int:
    """Returns how many instructions SQLite's machine takes for a page, in tens."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    def counted(transaction: Transaction, pages: Sequence[PageT]) -> list[Any]:
        transaction._cursor.connection.set_progress_handler(count, 10)
        try:
            return handler(transaction, pages)
        finally:
            transaction._cursor.connection.set_progress_handler(None, 0)

    await storage._reads.submit(counted, page)
    return taken


def pages(plan: Mapping[str, Any]) -> int:
    """Returns how many pages of tables and indexes a plan has read, as often as it has read them."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def rows(plan: Mapping[str, Any]) -> int:
    """Returns how many rows of tables and indexes a plan has read."""
    own = 0
    if "Relation Name" in plan or "Index Name" in plan:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return int(own) + sum(map(rows, plan.get("Plans", ())))


@contextmanager
def explained(
    monkeypatch: pytest.MonkeyPatch, counted: Callable[[Mapping[str, Any]], int] = rows
) -> Iterator[RowsRead]:
    """Has PostgreSQL explain each statement of a call before it is executed."""
    plans: list[Mapping[str, Any]] = []
    fetch = Transaction.fetch

    def explain(
        self: Transaction, statement: Query[Any], ids: Sequence[Any] = (), **values: Any
    ) -> list[Any]:
        text, parameters = statement.bind(self._dialect, ids, values)
        self._cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", parameters)
        plans.append(self._cursor.fetchone()[0][0]["Plan"])
        return fetch(self, statement, ids, **values)

    async def rows_read(call: Awaitable[Any]) -> int:
        plans.clear()
        await call
        return sum(map(counted, plans))

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "fetch", explain)
        yield rows_read
