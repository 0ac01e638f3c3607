"""Connections to SQLite or PostgreSQL."""

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, PoolProxiedConnection, create_engine, event
from sqlalchemy.pool import NullPool

from files.private import close_to_others, open_private
from server.storage.schema.completeness import lacking, named
from server.storage.schema.tables import REVISION
from server.storage.sql.database_files import DatabaseFiles
from server.storage.sql.database_urls import driver_url

# How long a statement, a lock or a connection may take before callers are told to come back.
TIMEOUT_S = 3
# How often to look whether SQLite's one writer is done. Left to itself, SQLite looks ever less often,
# so that whoever comes later goes first, again and again; looking more often makes small batches.
_LOOK_S = 0.005
_BEGIN_SQLITE = "BEGIN IMMEDIATE"  # taking the lock at once: a reader that wants to write may fail
# Those that change or read whole tables, and wait for others that do.
_NO_TIMEOUT_S = 24 * 3600
# The driver tries for 2 s at the least.
_CONNECT_S = 2

# SQLite's driver looks for another form of each value that is no number or text, and writes it as it is
# for want of one: so found, they take half as long. Kept by the module, for all connections.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), lambda value: value)


class SchemaError(Exception):
    """The database's schema is not the one that this code works with."""


class Database:
    """Makes connections, and knows the few differences between the two databases.

    Connections are the driver's own: statements are compiled by SQLAlchemy once and then run
    without its help, which costs more than half of a row's time otherwise.
    """

    def __init__(
        self,
        database_url: str,
        *,
        no_timeout: bool = False,
        make: bool = False,
        pooled: bool = False,
        listen_url: str = "",
    ) -> None:
        """With `no_timeout`, statements and waits for locks take as long as they must.

        A SQLite file that is not there is made with `make` alone: whoever names a wrong folder would
        go on with an empty database. `pooled`: the URL leads to a pooler that may give each
        transaction another session, so none is counted on; signals are then heard at `listen_url`.
        """
        url = driver_url(database_url)
        self._limit_s = limit_s = _NO_TIMEOUT_S if no_timeout else TIMEOUT_S
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.url = url
        self._begin_postgres = "BEGIN"
        self._files: DatabaseFiles | None = None
        # Whether something could not be written for want of room, and nothing as large has been since.
        self.is_full = False
        if self.is_sqlite:
            # One thread uses a connection at a time, but not always the one that opened it.
            arguments: dict[str, Any] = {
                "timeout": limit_s,
                "check_same_thread": False,
                "cached_statements": 256,
            }
        else:
            arguments = _postgres_arguments(limit_s)
            if pooled:
                del arguments["options"]
                arguments["prepare_threshold"] = None
                self._begin_postgres = f"BEGIN; {_settings(limit_s, 'SET LOCAL {}={}; ')}"
        self.engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args=arguments,
            hide_parameters=True,
            # What is left of a transaction ends with the connection; a broken one can't roll back.
            pool_reset_on_return=None,
            paramstyle="qmark" if self.is_sqlite else "format",
        )
        if self.is_sqlite:
            _close_files(Path(str(url.database)), make=make)
            if not make:
                event.listen(self.engine, "do_connect", _open_existing)
            event.listen(self.engine, "connect", _prepare_sqlite)
            # SQLAlchemy's own transactions (migrations) must hold the write lock from the start.
            event.listen(
                self.engine,
                "begin",
                lambda connection: connection.exec_driver_sql(_BEGIN_SQLITE),
            )
        else:
            self._find_servers(arguments, pooled, listen_url)

    def _find_servers(self, arguments: dict[str, Any], pooled: bool, listen_url: str) -> None:
        # Only here: on SQLite, a server starts without PostgreSQL's driver.
        from server.storage.sql.postgres_servers import PostgresServers

        def servers(url: URL) -> PostgresServers:
            (_, parameters) = self.engine.dialect.create_connect_args(url)
            return PostgresServers({**parameters, **arguments})

        self.servers = servers(self.url)
        self.listened: PostgresServers | None = self.servers
        if pooled:
            self.listened = servers(driver_url(listen_url)) if listen_url else None
        event.listen(self.engine, "do_connect", lambda *_: self.servers.connect())

    def begin(self, cursor: Any) -> None:
        """Begins a writing transaction; waits for that of another process. Raises the driver's error."""
        if not self.is_sqlite:
            cursor.execute(self._begin_postgres)
            return
        give_up_at = time.monotonic() + self._limit_s
        while True:
            try:
                cursor.execute(_BEGIN_SQLITE)
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= give_up_at:
                    raise
            time.sleep(_LOOK_S)

    def connect(self, *, writes: bool = False) -> PoolProxiedConnection:
        """Returns a new connection of the driver, in autocommit mode. Raises the driver's error.

        One that writes must do so after `begin`, which waits in its own way.
        """
        connection = self.engine.raw_connection()
        if not self.is_sqlite:
            connection.driver_connection.autocommit = True  # type: ignore[union-attr]
        elif writes:
            connection.cursor().execute("PRAGMA busy_timeout = 0")
            # Checkpoints are made by `log_marks`; this is for where it can't for long.
            connection.cursor().execute("PRAGMA wal_autocheckpoint = 40000")
        return connection

    def watch_files(self) -> None:
        """From now on `require_files` knows SQLite's files. A connection must have them open."""
        if self.is_sqlite:
            self._files = DatabaseFiles(Path(str(self.url.database)))

    def leave_files(self) -> None:
        """To be called when all of this process's connections are closed."""
        if self._files:
            self._files.close()

    def require_files(self) -> None:
        """Raises FilesMovedError once SQLite's files are no longer those that were opened."""
        if self._files:
            self._files.require()

    @property
    def has_moved(self) -> bool:
        """Whether `require_files` has found that last."""
        return self._files is not None and self._files.have_moved

    def require_schema(self) -> None:
        """Raises SchemaError, in one line, unless the schema is the one this code works with."""
        if self.is_sqlite and not Path(str(self.url.database)).is_file():
            raise SchemaError(
                f"there is no database at {self.url.database}: set BILLING_VAR or "
                "BILLING_DATABASE_URL to where it is, or run `billing-server migrate` to make one"
            )
        log_is_there = self.is_sqlite and _log_is_there(Path(str(self.url.database)))
        connection = self.connect()
        try:
            cursor = connection.cursor()
            versions = _versions(cursor)
            if versions == [REVISION]:
                if self.is_sqlite and not log_is_there:
                    self._require_log(cursor)
                require_complete(cursor, is_sqlite=self.is_sqlite)
        finally:
            connection.close()
        if not versions:
            raise SchemaError("the database has no schema yet: run `billing-server migrate`")
        if versions != [REVISION]:
            raise SchemaError(
                f"the database's schema is at version {', '.join(versions)}, and this server works "
                f"with {REVISION}: run `billing-server migrate` of the newer of the two releases"
            )

    def _require_log(self, cursor: Any) -> None:
        try:
            cursor.execute("SELECT count(*) FROM log_marks WHERE log_needed")
        except sqlite3.OperationalError:
            return  # what lacks this table lacks more than the log
        ((marks,),) = cursor.fetchall()
        if marks:
            path = self.url.database
            raise SchemaError(
                f"the database {path} was copied without its log ({path}-wal) while it was in use, so "
                "what was done last is missing: copy it anew with `sqlite3 FROM '.backup TO'`, or "
                "while nothing runs"
            )


def require_complete(cursor: Any, *, is_sqlite: bool) -> None:
    """Raises SchemaError for a database that lacks what its version, this release's, should have."""
    if lacks := lacking(cursor, is_sqlite=is_sqlite):
        raise SchemaError(
            f"the database says that its schema is at version {REVISION}, but lacks {named(lacks)}: if "
            "the version was set by hand, set it back in alembic_version and run `billing-server "
            "migrate`, else restore a backup; nothing was changed"
        )


def _versions(cursor: Any) -> list[str]:
    """Returns the versions that a database has: one, or none where there is no schema."""
    try:
        cursor.execute("SELECT version_num FROM alembic_version")
        return sorted(str(version) for (version,) in cursor.fetchall())
    except Exception as error:
        if "alembic_version" not in str(error):
            raise
        return []


def _postgres_arguments(limit_s: float) -> dict[str, Any]:
    return {
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": TIMEOUT_S * 1000,
        # A machine that is gone is noticed by who waits for its answer, too.
        "keepalives_idle": TIMEOUT_S,
        "keepalives_interval": 1,
        "keepalives_count": TIMEOUT_S,
        "application_name": "billing",
        "options": _settings(limit_s, "-c {}={} "),
    }


def _settings(limit_s: float, form: str) -> str:
    """Returns what PostgreSQL must go by, whatever its own settings are, each in a form.

    A commit is on disk, and on the standby if there is to be one, before it returns. A process that
    stands still does not keep its locks.
    """
    limit_ms = round(limit_s * 1000)
    wanted = {
        "statement_timeout": limit_ms,
        "idle_in_transaction_session_timeout": limit_ms,
        "synchronous_commit": "on",
    }
    return "".join(form.format(name, value) for name, value in wanted.items())


def _log_is_there(database_file: Path) -> bool:
    """Tells whether the file has a log beside it; to be asked before the database is opened."""
    log = database_file.with_name(f"{database_file.name}-wal")
    return log.is_file() and log.stat().st_size > 0


def _close_files(database: Path, *, make: bool) -> None:
    """Closes the files to other users; SQLite makes those beside the database as that one is."""
    if make:
        # Where that can't be done, SQLite says so when it is asked.
        with contextlib.suppress(OSError):
            open_private(database, "ab").close()
    for suffix in ("", "-wal", "-shm", "-seen"):
        close_to_others(database.with_name(database.name + suffix))


def _open_existing(
    _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]
) -> None:
    """Has the driver open a file that is there, and make none."""
    arguments[0] = f"{Path(arguments[0]).as_uri()}?mode=rw"
    options["uri"] = True


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions by itself
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit is on disk before it returns
        "foreign_keys = ON",
        "cache_size = -8192",  # KiB; what does not fit is in the system's own cache
        # Pages of 4 KiB. Larger than by default: pages that change again and again are then copied
        # back less often, and the call that does it is a rare one.
        "wal_autocheckpoint = 4000",
    ):
        connection.execute(f"PRAGMA {pragma}")
