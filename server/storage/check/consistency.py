"""Proving that the database is consistent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select

from server.storage.check.checks import Check, RowCheck
from server.storage.check.invariants import CHECKS, ROW_CHECKS
from server.storage.sql.connections import Database, SchemaError
from server.storage.sql.driver_errors import to_billing_error
from server.storage.sql.seen_position import (
    POSITION,
    note_position,
    seen_file,
    seen_position,
)
from server.storage.sql.statements import Statement

# How many of those that break an invariant are named.
MOST_IDS = 5

# Memory for joins of whole tables: KiB of SQLite's pages, and PostgreSQL's for each step.
_SQLITE_CACHE_KIB = 256 << 10
_POSTGRES_MEMORY = "128MB"


@dataclass
class Finding:
    """What became of one invariant: how many break it, and the IDs of some."""

    invariant: str
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, id_: object) -> None:
        """Counts one that breaks it."""
        self.count += 1
        if len(self.ids) < MOST_IDS:
            self.ids.append(str(id_))


def check(database_url: str, *, pooled: bool = False) -> list[Finding]:
    """Returns a finding for each invariant, as of one moment.

    Reads all tables, changes nothing and holds no one up. Raises SchemaError for another schema,
    STORAGE_UNAVAILABLE if the database can't be reached, ValueError for a URL of another kind.
    """
    database = Database(database_url, no_timeout=True, pooled=pooled)
    try:
        database.require_schema()
        with _snapshot(database) as cursor:
            findings = [
                finding
                for invariants, reading in _READINGS
                for finding in _examine(database, cursor, invariants, reading)
            ]
            for each in ROW_CHECKS:
                findings += _examine_rows(database, cursor, each)
            _require_no_way_back(database, cursor)
            return findings
    except Exception as error:
        raise to_billing_error(error) from None


def _require_no_way_back(database: Database, cursor: Any) -> None:
    """Raises SchemaError for a SQLite database that lacks what it was seen to have."""
    if not database.is_sqlite:
        return
    file = Path(str(database.url.database))
    cursor.execute(POSITION)
    ((position,),) = cursor.fetchall()
    seen = seen_position(file)
    if position < seen:
        raise SchemaError(
            f"the database {file} has gone back behind what it was seen to have, so what came after is "
            f"lost; find the right file, or if this is meant, remove {seen_file(file)}"
        )
    note_position(file, position)


@contextmanager
def _snapshot(database: Database) -> Iterator[Any]:
    """Gives a cursor that sees the database as it is at the first query."""
    connection = database.connect()
    try:
        cursor = connection.cursor()
        if database.is_sqlite:
            cursor.execute(f"PRAGMA cache_size = -{_SQLITE_CACHE_KIB}")
            cursor.execute("BEGIN")
        else:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(f"SET LOCAL work_mem = '{_POSTGRES_MEMORY}'")
        yield cursor
        cursor.execute("ROLLBACK")
    finally:
        connection.close()


def _reading(check: Check) -> Statement:
    """Reads what breaks an invariant of a check: a row's ID, and whether it breaks each of them."""
    broken = list(check.invariants.values())
    return Statement(select(check.id, *broken).select_from(check.rows).where(or_(*broken)))


_READINGS = [(list(each.invariants), _reading(each)) for each in CHECKS]


def _examine(
    database: Database, cursor: Any, invariants: list[str], reading: Statement
) -> list[Finding]:
    """Returns a finding for each invariant of a check, all from one reading of it."""
    findings = [Finding(text) for text in invariants]
    cursor.execute(*reading.bind(database.engine.dialect, (), {}))
    for id_, *flags in cursor:
        for finding, is_broken in zip(findings, flags, strict=True):
            if is_broken:
                finding.add(id_)
    return findings


def _examine_rows(database: Database, cursor: Any, check: RowCheck) -> list[Finding]:
    """Returns a finding for each invariant of a check that looks at the rows itself."""
    findings = {text: Finding(text) for text in check.invariants}
    cursor.execute(*check.query.bind(database.engine.dialect, (), {}))
    for text, id_ in check.find(map(check.query.make, cursor)):
        findings[text].add(id_)
    return list(findings.values())
