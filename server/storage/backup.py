"""Copies of a SQLite database, made while servers run, and put in the place of one that is lost."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from files.private import open_private, sync
from server.storage.check.consistency import Finding, check
from server.storage.schema.migrations import require_older
from server.storage.schema.tables import REVISION
from server.storage.sql.connections import Database, SchemaError
from server.storage.sql.driver_errors import to_billing_error
from server.storage.sql.seen_position import POSITION, note_position, seen_file

_PAGES_AT_ONCE = 10_000
_BUSY_S = 30.0


class UnusableCopyError(Exception):
    """A copy that is damaged, breaks invariants, is of a newer release or not what its version says."""


def sqlite_file(database_url: str) -> Path:
    """Returns a SQLite database's file; raises ValueError for a URL of another kind."""
    database = Database(database_url)
    if not database.is_sqlite:
        raise ValueError(
            "is PostgreSQL's, which has tools of its own: see docs/operators/backups.md"
        )
    return Path(str(database.url.database)).absolute()


def copy_database(
    database_url: str, target: Path, progress: Callable[[int, int], None] | None = None
) -> str:
    """Copies the database to a new file, as of one moment, while others write; returns its schema.

    The copy needs no log and has been checked. `progress` is told pages done, and of how many.
    Raises SchemaError, UnusableCopyError, ValueError, and what `to_billing_error` makes; OSError for the
    target.
    """
    file = sqlite_file(database_url)
    try:
        Database(database_url).require_schema()
    except SchemaError as error:
        # One of an older release is copied before it is migrated.
        if not file.is_file() or not _older(file):
            raise SchemaError(str(error)) from None
    except Exception as error:
        raise to_billing_error(error) from None
    open_private(target, "xb").close()
    try:
        source = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
        with closing(source), closing(sqlite3.connect(target)) as copy:
            # One read transaction, so that no writer makes the copy begin anew.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchall()
            source.backup(
                copy,
                pages=_PAGES_AT_ONCE,
                progress=lambda _status, left, total: progress and progress(total - left, total),
            )
            copy.execute("PRAGMA journal_mode = DELETE")
        return require_sound(target)
    except sqlite3.Error as error:
        raise to_billing_error(error) from None


def require_sound(file: Path) -> str:
    """Returns the schema of a copy that is whole, and if it is this release's breaks no invariant.

    Raises UnusableCopyError.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as copy:
            ((found,), *_) = copy.execute("PRAGMA integrity_check(1)").fetchall()
            ((version,),) = copy.execute("SELECT version_num FROM alembic_version").fetchall()
            revision = str(version)
            if found == "ok" and revision < REVISION:
                require_older(revision, copy.cursor(), is_sqlite=True)
    except SchemaError as error:
        raise UnusableCopyError(str(error)) from None
    except (sqlite3.Error, ValueError):
        raise UnusableCopyError("it is no database of this service, or is damaged") from None
    if found != "ok":
        raise UnusableCopyError("the database is damaged; `PRAGMA integrity_check` says where")
    if revision == REVISION:
        _require_consistent(file)
    elif revision > REVISION:
        raise UnusableCopyError(
            f"its schema {revision} is a newer release's than this one's {REVISION}"
        )
    return revision


def _require_consistent(file: Path) -> None:
    """Raises UnusableCopyError for a database that lacks what its version has, or breaks an invariant."""
    try:
        broken = [each for each in check(f"sqlite:///{file}") if each.count]
    except SchemaError as error:
        raise UnusableCopyError(str(error)) from None
    for leftover in (f"{file}-wal", f"{file}-shm", seen_file(file)):
        Path(leftover).unlink(missing_ok=True)
    if broken:
        raise UnusableCopyError(_told(broken))


def put_database(database_url: str, copy: Path) -> None:
    """Moves a sound copy to where the database is to be; raises FileExistsError, OSError."""
    file = sqlite_file(database_url)
    for each in (file, file.with_name(f"{file.name}-wal")):
        if each.exists():
            raise FileExistsError(each)
    with closing(sqlite3.connect(copy)) as connection:
        try:
            ((position,),) = connection.execute(POSITION).fetchall()
        except sqlite3.OperationalError:  # of a release without events
            position = 0
    sync(copy)
    # What has gone back is meant to have.
    seen_file(file).unlink(missing_ok=True)
    os.link(copy, file)  # unlike a rename, it replaces nothing that has come meanwhile
    copy.unlink()
    sync(file.parent)
    note_position(file, position)


def _older(file: Path) -> bool:
    """Tells whether a database has the schema of an older release."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as database:
            versions = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:
        return False
    return len(versions) == 1 and str(versions[0][0]) < REVISION


def _told(broken: list[Finding]) -> str:
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return f"the database breaks an invariant: {broken[0].invariant} ({broken[0].count}){more}; see `check`"
