"""Looks whether the database can be used, apart from what calls do."""

import asyncio
import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

from server.storage.sql.connections import Database
from server.storage.sql.database_files import FilesMovedError
from server.storage.sql.driver_errors import ErrorClass, classify
from server.storage.sql.postgres_socket import SocketHandle
from server.telemetry.metrics import DATABASE_ERRORS

# A database that has not answered by then is asked on a new connection.
SILENT_S = 2.0
_END_WITHIN_S = 1.0
# Machines whose clocks are kept by NTP; each then goes by its own.
_SAME_TIME = timedelta(seconds=1)
_READ_ONLY = "the database is read-only"
_NO_ROOM = "the database has no room: its disk is full"
# SQLite: what a transaction of many calls may take. More than that must be free.
LEAST_ROOM_BYTES = 4 << 20
# PostgreSQL: some 200 KB of a table that nobody else sees, since what is smaller may find a gap.
_TAKE_ROOM = "CREATE TEMPORARY TABLE room ON COMMIT DROP AS SELECT generate_series(1, 5000)"
_PROBLEMS = {
    ErrorClass.DISCONNECTED: "the database can't be reached",
    ErrorClass.UNAVAILABLE: "the database can't be used",
    ErrorClass.FULL: _NO_ROOM,
}


class SqlProbe:
    """Implements `interface.DatabaseProbe` and `DatabaseClock`.

    Writes nothing that stays: it takes SQLite's lock for writing, and asks PostgreSQL whether it may
    write. Whether a full disk of PostgreSQL's has room again is seen by writing to it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread: Thread | None = None
        self._connection: Any = None
        self._handle: SocketHandle | None = None
        # What time the database had, and how long this machine had been running then.
        self._clock: tuple[datetime, float] | None = None

    async def probe(self) -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def run() -> None:
            problem = self._probe()
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_answer, answer, problem)

        # A database that never answers holds this thread, and nothing else, not even the end.
        self._thread = Thread(target=run, name="storage-probe", daemon=True)
        self._thread.start()
        await asyncio.wait({answer}, timeout=SILENT_S)
        if not answer.done() and self._handle:
            self._handle.shut_down()
        return await answer

    async def close(self) -> None:
        if self._thread:
            if self._handle:
                self._handle.shut_down()
            await asyncio.to_thread(self._thread.join, _END_WITHIN_S)
        if not (self._thread and self._thread.is_alive()):
            self._drop()

    def _probe(self) -> str:
        try:
            if self._connection is None:
                self._connection = self._database.connect(writes=True)
                if not self._database.is_sqlite:
                    self._handle = self._database.servers.socket_handle(
                        self._connection.driver_connection
                    )
            cursor = self._connection.cursor()
            problem = self._file_problem() if self._database.is_sqlite else ""
            if not problem:
                problem = self._write_problem(cursor)
        except FileNotFoundError:
            problem = "the database's file is gone"
        except Exception as error:
            self._drop()
            if _code(error) in ("25006", "SQLITE_READONLY"):
                return _counted(ErrorClass.UNAVAILABLE, _READ_ONLY)
            error_class = classify(error)
            what = _PROBLEMS.get(error_class, "the database fails")
            return _counted(error_class, f"{what} ({_named(error)})")
        if problem:
            _counted(ErrorClass.FULL if problem == _NO_ROOM else ErrorClass.UNAVAILABLE, problem)
        return problem

    def _write_problem(self, cursor: Any) -> str:
        """Returns why nothing can be written; raises the driver's error."""
        if self._database.is_sqlite:
            self._database.begin(cursor)
            cursor.execute("ROLLBACK")
            return ""
        asked_s = _running_s()
        cursor.execute("SELECT current_setting('transaction_read_only'), clock_timestamp()")
        read_only, at = cursor.fetchone()
        self._clock = (at.astimezone(UTC), (asked_s + _running_s()) / 2)
        if read_only == "on":
            return _READ_ONLY
        if self._database.is_full:
            cursor.execute(_TAKE_ROOM)
            self._database.is_full = False
        return ""

    def agreed(self, local: datetime) -> datetime:
        if self._clock is None:
            return local
        at, running_s = self._clock
        database = at + timedelta(seconds=_running_s() - running_s)
        return local if abs(database - local) < _SAME_TIME else database

    def _file_problem(self) -> str:
        """Returns what is wrong with SQLite's file: those who have it open would not be told."""
        file = str(self._database.url.database)
        try:
            self._database.require_files()
        except FilesMovedError:
            os.stat(file)  # noqa: PTH116 - beside what os alone has
            return "the database's file or log was replaced: start the process again"
        disk = os.statvfs(file)
        if not os.access(file, os.W_OK) or disk.f_flag & os.ST_RDONLY:
            return _READ_ONLY
        return _NO_ROOM if disk.f_bavail * disk.f_frsize < LEAST_ROOM_BYTES else ""

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        handle, self._handle = self._handle, None
        if handle:
            handle.close()
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _running_s() -> float:
    """Returns a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _answer(future: asyncio.Future[str], problem: str) -> None:
    if not future.done():
        future.set_result(problem)


def _counted(error_class: ErrorClass, problem: str) -> str:
    """Counts it: calls that are refused meanwhile meet no error of the database's."""
    DATABASE_ERRORS.labels(error_class.name.lower()).inc()
    return problem


def _named(error: Exception) -> str:
    """Returns what kind of error it is; its text may hold an address."""
    cause = getattr(error, "orig", None) or error
    return " ".join(filter(None, (type(cause).__name__, _code(error))))


def _code(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
