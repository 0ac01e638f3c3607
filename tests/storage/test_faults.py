"""A database that fails: callers hear of it in time, and service comes back by itself."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import PoolProxiedConnection

from server.domain.customers import CustomerList
from server.domain.errors import BillingError, Reason
from server.storage import SchemaError, migrate, open_storage
from server.storage.interface.deadlines import end_within
from server.storage.sql import batches
from server.storage.sql import connections as database
from server.storage.sql.batches import Batcher
from server.storage.sql.connections import Database
from server.storage.sql.statements import Transaction
from server.storage.sql.transactions import BatchConnection, Join, Notice, Request, run_batch
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.records import RESELLER, add_reseller, invited, key, new, opened

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
# Far above what a refusal may take, far below a hang.
IN_TIME_S = 10.0


async def _refused(storage: SqlStorage, reason: Reason) -> None:
    """Checks that calls are refused in time, with nothing of the database's in the message."""
    # More than may be left of any page.
    invitation = new("secret@example.com", name="n" * 8192)
    started = time.monotonic()
    with pytest.raises(BillingError) as refused:
        await storage.invitations.create_invitation(invitation, key("refused"))
    assert time.monotonic() - started < IN_TIME_S
    assert refused.value.reason is reason
    assert refused.value.retry_after_s
    assert refused.value.__cause__ is None
    for word in ("secret", "INSERT", "sqlite", "psycopg", "SQL"):
        assert word not in refused.value.message


async def _invite_forever(storage: SqlStorage) -> None:
    while True:
        await invited(storage)


def _with_pragma(pragma: str) -> Callable[..., PoolProxiedConnection]:
    """Makes a Database.connect of connections that can't do what others can."""
    connect = Database.connect

    def limited(self: Database, *, writes: bool = False) -> PoolProxiedConnection:
        connection = connect(self, writes=writes)
        connection.cursor().execute(f"PRAGMA {pragma}")
        return connection

    return limited


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    file = tmp_path / "billing.db"
    migrate(f"sqlite:///{file}")
    add_reseller(f"sqlite:///{file}")
    return file


async def test_sqlite_locked_by_another_process(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TIMEOUT_S", 0.2)
    async with opened(f"sqlite:///{sqlite_file}") as storage:
        given = await invited(storage)
        blocker = sqlite3.connect(sqlite_file, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        await _refused(storage, Reason.STORAGE_UNAVAILABLE)
        assert await storage.operations.get_operation(given.id) == given
        blocker.execute("ROLLBACK")
        blocker.close()
        await storage.invitations.create_invitation(new("secret@example.com"), key("refused"))


async def test_sqlite_waits_for_a_short_lock(sqlite_file: Path) -> None:
    async with opened(f"sqlite:///{sqlite_file}") as storage:
        blocker = sqlite3.connect(sqlite_file, isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(invited(storage))
        await asyncio.to_thread(blocker.execute, "ROLLBACK")
        blocker.close()
        assert await waiting


async def test_who_comes_while_the_database_is_waited_for_joins_the_batch(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []
    waiting = asyncio.Event()
    begin, loop = Database.begin, asyncio.get_running_loop()

    def beginning(self: Database, cursor: sqlite3.Cursor) -> None:
        loop.call_soon_threadsafe(waiting.set)
        begin(self, cursor)

    def note(_: Transaction, batch: Sequence[int]) -> list[int]:
        batches.append(list(batch))
        return list(batch)

    monkeypatch.setattr(Database, "begin", beginning)
    blocker = sqlite3.connect(sqlite_file, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    batcher = Batcher(Database(f"sqlite:///{sqlite_file}"), "test", writes=True)
    first = batcher.submit(note, 1)
    await waiting.wait()
    others = [batcher.submit(note, number) for number in (2, 3)]
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await asyncio.gather(first, *others) == [1, 2, 3]
    assert batches == [[1, 2, 3]]
    await batcher.close()


@pytest.mark.parametrize(("served", "pause_s"), [(1, None), (2, 0.001), (20, 0.003), (100, 0.006)])
async def test_the_next_ones_have_time_to_gather_by_how_many_were_served(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch, served: int, pause_s: float | None
) -> None:
    """Whoever calls alone never waits for it."""
    all_queued = threading.Event()
    begin, sleep = Database.begin, time.sleep
    pauses = []

    def beginning(self: Database, cursor: sqlite3.Cursor) -> None:
        all_queued.wait(IN_TIME_S)
        begin(self, cursor)

    def note(seconds: float) -> None:
        if threading.current_thread().name == "gathering-0":
            pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(Database, "begin", beginning)
    monkeypatch.setattr(time, "sleep", note)
    batcher = Batcher(Database(f"sqlite:///{sqlite_file}"), "gathering", writes=True)
    calls = [batcher.submit(_two, 0) for _ in range(served)]
    all_queued.set()
    await asyncio.gather(*calls)
    await batcher.close()
    assert pauses == ([] if pause_s is None else [pytest.approx(pause_s)])


async def test_a_full_disk_is_refused_as_such_until_there_is_room(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((pages,),) = query(f"sqlite:///{sqlite_file}", "PRAGMA page_count")
    limited = _with_pragma(f"max_page_count = {pages + 2}")
    async with opened(f"sqlite:///{sqlite_file}") as storage:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "connect", limited)
            with pytest.raises(BillingError):
                await _invite_forever(storage)
            await _refused(storage, Reason.STORAGE_FULL)
        await storage.invitations.create_invitation(new("secret@example.com"), key("refused"))


async def test_a_read_only_database_is_unavailable_until_it_is_writable(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(f"sqlite:///{sqlite_file}") as storage:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "connect", _with_pragma("query_only = ON"))
            await _refused(storage, Reason.STORAGE_UNAVAILABLE)
        await storage.invitations.create_invitation(new("secret@example.com"), key("refused"))


async def test_a_missing_sqlite_file_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="there is no database at"):
        await open_storage(
            f"sqlite:///{tmp_path / 'none' / 'billing.db'}",
            idempotency_lifetime=timedelta(days=1),
        )


async def test_a_missing_postgresql_server_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(BillingError) as refused:
        await open_storage(
            f"postgresql://nobody@/none?host={tmp_path}", idempotency_lifetime=timedelta(days=1)
        )
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE


@on_postgresql
async def test_cut_connections_are_made_anew(storage: SqlStorage, database_url: str) -> None:
    given = await invited(storage)
    # Those that write and read, and the two that carry signals, if they are there already.
    assert len(query(database_url, CUT)) >= 2
    assert await storage.operations.get_operation(given.id) == given
    assert await storage.invitations.create_invitation(new("secret@example.com"), key("refused"))


@on_postgresql
async def test_postgres_made_read_only_and_writable_again(
    storage: SqlStorage, database_url: str
) -> None:
    """As on a standby after a switch."""
    name = Database(database_url).url.database
    query(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    query(database_url, CUT)
    await _refused(storage, Reason.STORAGE_UNAVAILABLE)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await storage.invitations.create_invitation(new("secret@example.com"), key("refused"))


def _two(transaction: Transaction, batch: Sequence[int]) -> list[int | Exception]:
    if 13 in batch:
        raise ZeroDivisionError
    return [ValueError("odd") if each % 2 else each for each in batch]


async def test_one_request_that_fails_does_not_fail_its_neighbours(database_url: str) -> None:
    batcher = Batcher(Database(database_url), "test", writes=True)
    outcomes = await asyncio.gather(
        *(batcher.submit(_two, number) for number in (0, 1, 2, 13, 4)), return_exceptions=True
    )
    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        0,
        ValueError,
        2,
        ZeroDivisionError,
        4,
    ]
    await batcher.close()


async def test_all_who_wait_for_a_database_that_is_away_hear_of_it_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one batch after the other, each with a time-out of its own."""
    tries = 0
    all_queued = threading.Event()

    def away(_: Database, **_options: bool) -> PoolProxiedConnection:
        nonlocal tries
        tries += 1
        all_queued.wait(IN_TIME_S)
        raise psycopg.OperationalError("connection timeout expired")

    batcher = Batcher(Database(database_url), "test", writes=True)
    monkeypatch.setattr(Database, "connect", away)
    calls = [batcher.submit(_two, 0) for _ in range(3000)]
    all_queued.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BillingError}
    assert tries <= 4
    monkeypatch.undo()
    assert await batcher.submit(_two, 0) == 0
    await batcher.close()


async def test_beyond_the_queue_calls_are_refused_at_once(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_QUEUED", 5)
    outcomes = await asyncio.gather(
        *(invited(storage) for _ in range(1000)), return_exceptions=True
    )
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BillingError)]
    assert refusals
    assert len(refusals) < 1000
    assert {(refusal.reason, refusal.retry_after_s) for refusal in refusals} == {
        (Reason.OVERLOADED, 1.0)
    }
    await invited(storage)


async def test_closing_finishes_what_is_under_way(database_url: str) -> None:
    add_reseller(database_url)
    async with opened(database_url) as storage:
        calls = [asyncio.ensure_future(invited(storage)) for _ in range(100)]
        await asyncio.sleep(0)  # they are submitted
        await storage.close()
        ids = {(await call).id for call in calls}
        with pytest.raises(BillingError) as refused:
            await invited(storage)
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert {
        id_ for (id_,) in query(database_url, "SELECT 'bop' || substr(id, 4) FROM customers")
    } == ids


async def test_what_is_cancelled_before_its_turn_is_not_done(database_url: str) -> None:
    began, goes_on = threading.Event(), threading.Event()
    done: list[int] = []

    def note(_: Transaction, batch: Sequence[int]) -> list[int]:
        began.set()
        goes_on.wait(IN_TIME_S)
        done.extend(batch)
        return list(batch)

    batcher = Batcher(Database(database_url), "test", writes=True)
    calls = [batcher.submit(note, 1)]
    await asyncio.to_thread(began.wait, IN_TIME_S)
    calls += [batcher.submit(note, number) for number in range(2, 6)]
    for cancelled in (calls[1], calls[3]):
        cancelled.cancel()
    goes_on.set()
    await asyncio.gather(*calls, return_exceptions=True)
    await batcher.close()
    assert done == [1, 3, 5]


class HeldUp:
    """What a database does that says nothing until `answers` is set; `done` is what it did after."""

    def __init__(self) -> None:
        self.began, self.answers = threading.Event(), threading.Event()
        self.done: list[int] = []

    def hang(self, _: Transaction, batch: Sequence[int]) -> list[int]:
        self.began.set()
        self.answers.wait(IN_TIME_S)
        return list(batch)

    def note(self, _: Transaction, batch: Sequence[int]) -> list[int]:
        self.done.extend(batch)
        return list(batch)


async def test_a_database_that_says_nothing_holds_nobody_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused meanwhile is not done after."""
    monkeypatch.setattr(batches, "_ANSWER_WITHIN_S", 0.1)
    held = HeldUp()
    batcher = Batcher(Database(database_url), "test", writes=True)
    calls = [batcher.submit(held.hang, 1)]
    await asyncio.to_thread(held.began.wait, IN_TIME_S)
    calls.append(batcher.submit(held.note, 2))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert not held.answers.is_set()
    for outcome in outcomes:
        assert isinstance(outcome, BillingError)
        assert outcome.reason is Reason.STORAGE_UNAVAILABLE
    held.answers.set()
    assert await batcher.submit(held.note, 3) == 3
    assert held.done == [3]
    await batcher.close()


async def test_a_caller_in_a_hurry_is_refused_before_its_deadline(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits behind it, in the same line, is not."""
    monkeypatch.setattr(batches, "_ANSWER_WITHIN_S", 10 * IN_TIME_S)
    held = HeldUp()

    async def hurry() -> int:
        end_within(1.2)
        return await batcher.submit(held.note, 1)

    batcher = Batcher(Database(database_url), "test", writes=True)
    first = batcher.submit(held.hang, 0)
    await asyncio.to_thread(held.began.wait, IN_TIME_S)
    hurried = asyncio.create_task(hurry())
    other = batcher.submit(held.note, 2)
    with pytest.raises(BillingError) as refused:
        await hurried
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    held.answers.set()
    assert [await first, await other] == [0, 2]
    assert held.done == [2]
    await batcher.close()


async def test_those_who_have_gone_take_no_place_in_a_batch(database_url: str) -> None:
    """Else what waits behind a crowd that was refused waits for one empty batch after the other."""
    served: list[list[int]] = []

    def note(_: Transaction, batch: Sequence[int]) -> list[int]:
        served.append(list(batch))
        return list(batch)

    held = HeldUp()
    batcher = Batcher(Database(database_url), "test", writes=True)
    calls = [batcher.submit(held.hang, 0)]
    await asyncio.to_thread(held.began.wait, IN_TIME_S)
    calls.append(batcher.submit(note, 1))
    gone = [batcher.submit(note, 2) for _ in range(batches.MOST_IN_BATCH)]
    calls.append(batcher.submit(note, 3))
    for call in gone:
        call.cancel()
    held.answers.set()
    assert await asyncio.gather(*calls) == [0, 1, 3]
    assert served == [[1, 3]]
    await batcher.close()


async def test_no_transaction_is_begun_for_those_who_have_gone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[int]] = []

    def beginning(
        connection: BatchConnection, batch: list[Request], join: Join
    ) -> tuple[list[Any], list[Notice]]:
        begun.append([request.argument for request in batch])
        return run_batch(connection, batch, join)

    monkeypatch.setattr(batches, "run_batch", beginning)
    held = HeldUp()
    batcher = Batcher(Database(database_url), "test", writes=True)
    first = batcher.submit(held.hang, 0)
    await asyncio.to_thread(held.began.wait, IN_TIME_S)
    batcher.submit(held.note, 1).cancel()
    held.answers.set()
    await first
    await batcher.close()
    assert begun == [[0]]


@pytest.mark.parametrize("unfit", ["a\0b", "\ud800"])
async def test_a_value_that_no_row_can_hold_is_the_callers_doing(
    storage: SqlStorage, unfit: str
) -> None:
    """Whatever checks miss: no class of the driver's errors is an internal one. Others go on."""
    good = new()
    made = [
        asyncio.create_task(storage.invitations.create_invitation(each, None))
        for each in (new(name=unfit), good, new(name=unfit))
    ]
    done = await asyncio.gather(*made, return_exceptions=True)
    assert done[1] == good.operation
    for outcome in (done[0], done[2]):
        # SQLite keeps NUL.
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, BillingError)
            assert outcome.reason is Reason.REQUEST_MALFORMED
    with contextlib.suppress(BillingError):
        assert await storage.invitations.get_invitation(unfit) is None


async def test_a_number_out_of_range_is_the_callers_doing(storage: SqlStorage) -> None:
    with pytest.raises(BillingError) as refused:
        await storage.customers.list_customers(CustomerList(RESELLER), 1 << 70, None)
    assert refused.value.reason is Reason.REQUEST_MALFORMED
