"""Looks whether the database can be used, apart from what calls do."""

import asyncio
import os
from contextlib import suppress
from threading import Thread
from typing import Any

from server.storage.sql.connections import Database, FilesMovedError
from server.storage.sql.driver_errors import ErrorClass, classify
from server.storage.sql.postgres_line import Line

# A database that has not answered by then is asked on a new connection.
SILENT_S = 2.0
_END_WITHIN_S = 1.0
_READ_ONLY = "the database is read-only"
_PROBLEMS = {
    ErrorClass.DISCONNECTED: "the database can't be reached",
    ErrorClass.UNAVAILABLE: "the database can't be used",
    ErrorClass.FULL: "the database has no room",
}


class SqlProbe:
    """Implements `interface.DatabaseProbe`.

    Writes nothing: it takes SQLite's lock for writing, and asks PostgreSQL whether it may write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread: Thread | None = None
        self._connection: Any = None
        self._line: Line | None = None

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
        if not answer.done() and self._line:
            self._line.shut_down()
        return await answer

    async def close(self) -> None:
        if self._thread:
            if self._line:
                self._line.shut_down()
            await asyncio.to_thread(self._thread.join, _END_WITHIN_S)
        if not (self._thread and self._thread.is_alive()):
            self._drop()

    def _probe(self) -> str:
        try:
            if self._connection is None:
                self._connection = self._database.connect(writes=True)
                if not self._database.is_sqlite:
                    self._line = self._database.servers.line(self._connection.driver_connection)
            cursor = self._connection.cursor()
            if not self._database.is_sqlite:
                cursor.execute("SHOW transaction_read_only")
                return _READ_ONLY if cursor.fetchone() == ("on",) else ""
            problem = self._file_problem()
            if not problem:
                self._database.begin(cursor)
                cursor.execute("ROLLBACK")
        except FileNotFoundError:
            return "the database's file is gone"
        except Exception as error:
            self._drop()
            if _code(error) in ("25006", "SQLITE_READONLY"):
                return _READ_ONLY
            return f"{_PROBLEMS.get(classify(error), 'the database fails')} ({_named(error)})"
        return problem

    def _file_problem(self) -> str:
        """Returns what is wrong with SQLite's file: those who have it open would not be told."""
        file = str(self._database.url.database)
        try:
            self._database.require_files()
        except FilesMovedError:
            os.stat(file)  # noqa: PTH116 - beside what os alone has
            return "the database's file or log was replaced: start the process again"
        writable = os.access(file, os.W_OK) and not os.statvfs(file).f_flag & os.ST_RDONLY
        return "" if writable else _READ_ONLY

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        line, self._line = self._line, None
        if line:
            line.close()
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _answer(future: asyncio.Future[str], problem: str) -> None:
    if not future.done():
        future.set_result(problem)


def _named(error: Exception) -> str:
    """Returns what kind of error it is; its text may hold an address."""
    cause = getattr(error, "orig", None) or error
    return " ".join(filter(None, (type(cause).__name__, _code(error))))


def _code(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
