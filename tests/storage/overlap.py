"""Calls that overlap, or share a batch, in an order that the test decides.

Both processes are real storages. Only the statement that the first one stops before is held back.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import psycopg
from sqlalchemy import PoolProxiedConnection

from server.domain.limits import Limits
from server.storage.sql.connections import Database
from server.storage.sql.statements import Transaction
from server.storage.storage import SqlStorage
from tests.storage.records import KEY_LIFETIME

# Far above what anything here takes, far below a hang.
IN_TIME_S = 20.0
_NO_LIMITS = Limits()

_WAITING_FOR_LOCKS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class _Stop:
    """Holds a thread back that is about to run a statement with a text in it, once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._text = ""
        self._go_on = threading.Event()
        self.reached = asyncio.Event()

    def set_before(self, text: str) -> None:
        self._go_on.clear()
        self.reached.clear()
        self._text = text

    def release(self) -> None:
        self._text = ""
        self._go_on.set()

    def pass_(self, statement: str) -> None:
        """Called by the storage's threads with each statement before it runs."""
        if self._text and self._text in statement:
            self._text = ""
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self._go_on.wait(IN_TIME_S), "the test never let it go on"


class _Cursor:
    """A driver's cursor whose statements pass the stop."""

    def __init__(self, cursor: Any, stop: _Stop) -> None:
        self._cursor = cursor
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        self._stop.pass_(statement)
        return self._cursor.execute(statement, *parameters)

    def executemany(self, statement: str, rows: Any) -> Any:
        self._stop.pass_(statement)
        return self._cursor.executemany(statement, rows)


class _Connection:
    """A driver's connection with such cursors."""

    def __init__(self, connection: PoolProxiedConnection, stop: _Stop) -> None:
        self._connection = connection
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> Any:
        return _Cursor(self._connection.cursor(), self._stop)


class PausingDatabase(Database):
    """Makes connections that can be stopped, and tells when a transaction is about to begin."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.stop = _Stop()
        self.begun = threading.Event()
        # PostgreSQL's processes that serve those who write.
        self.backends: list[int] = []

    def begin(self, cursor: Any) -> None:
        self.begun.set()
        super().begin(cursor)

    def connect(self, *, writes: bool = False) -> PoolProxiedConnection:
        connection: Any = super().connect(writes=writes)
        if not writes:
            return cast("PoolProxiedConnection", connection)
        if not self.is_sqlite:
            self.backends.append(connection.driver_connection.info.backend_pid)
        return cast("PoolProxiedConnection", _Connection(connection, self.stop))


class Outcome(NamedTuple):
    """What the two calls returned or raised, and whether the second waited for the first."""

    first: Any
    second: Any
    waited: bool


@dataclass
class Overlap:
    """Two processes on one database."""

    first: SqlStorage
    second: SqlStorage
    _databases: tuple[PausingDatabase, PausingDatabase]
    _observer: psycopg.AsyncConnection | None

    async def run(
        self,
        first: Coroutine[Any, Any, Any],
        second: Coroutine[Any, Any, Any],
        *,
        stop_before: str = "COMMIT",
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Runs a call of the first process up to a statement; then one of the second one, until it
        waits for the first or has ended; then `meanwhile`; then lets the first go on.
        """
        stop = self._databases[0].stop
        stop.set_before(stop_before)
        begun = asyncio.create_task(first)
        async with asyncio.timeout(IN_TIME_S):
            reached = asyncio.create_task(stop.reached.wait())
            await asyncio.wait({begun, reached}, return_when=asyncio.FIRST_COMPLETED)
            assert reached.done(), f"ended without {stop_before}: {await begun}"
            self._databases[1].begun.clear()
            other = asyncio.create_task(second)
            try:
                while not other.done() and not await self._waits():  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.002)
                waited = not other.done()
                if meanwhile:
                    await meanwhile()
            finally:
                stop.release()
            outcomes = await asyncio.gather(begun, other, return_exceptions=True)
        return Outcome(*outcomes, waited)

    async def in_one_batch(self, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
        """Runs calls that write in one transaction of the second process, in their order."""
        go_on, end = threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        async def occupy(until: threading.Event) -> asyncio.Future[None]:
            """Keeps one of the threads that write busy."""
            busy = asyncio.Event()

            def wait(_: Transaction, batch: Sequence[None]) -> list[None]:
                loop.call_soon_threadsafe(busy.set)
                assert until.wait(IN_TIME_S)
                return list(batch)

            done = self.second._writes.submit(wait, None)
            await busy.wait()
            return done

        async with asyncio.timeout(IN_TIME_S):
            occupied = [await occupy(end) for _ in self.second._writes._threads[1:]]
            occupied.append(await occupy(go_on))
            try:
                running = [asyncio.create_task(call) for call in calls]
                await asyncio.sleep(0)  # they are queued, and the one thread left takes them all
                go_on.set()
                return await asyncio.gather(*running, return_exceptions=True)
            finally:
                end.set()
                await asyncio.gather(*occupied)

    async def _waits(self) -> bool:
        """Tells whether the second process waits for the first."""
        if self._observer is None:
            # The first one has SQLite's only write lock.
            return self._databases[1].begun.is_set()
        cursor = await self._observer.execute(_WAITING_FOR_LOCKS)
        row = await cursor.fetchone()
        return row is not None and row[0] > 0


@asynccontextmanager
async def overlapping(database_url: str, limits: Limits = _NO_LIMITS) -> AsyncIterator[Overlap]:
    """Opens both processes and closes them."""
    databases = PausingDatabase(database_url), PausingDatabase(database_url)
    first, second = (SqlStorage(database, KEY_LIFETIME, limits) for database in databases)
    observer = None
    if not databases[0].is_sqlite:
        observer = await databases[0].servers.connect_async()
    try:
        yield Overlap(first, second, databases, observer)
    finally:
        if observer:
            await observer.close()
        await first.close()
        await second.close()
