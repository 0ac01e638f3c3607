"""Proving that the database is consistent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import or_, select

from server.storage.database import Database
from server.storage.failures import refusal
from server.storage.invariants import SUBJECTS, Subject
from server.storage.statements import Statement

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


def check(database_url: str) -> list[Finding]:
    """Returns a finding for each invariant, as of one moment.

    Reads all tables, changes nothing and holds no one up. Raises SchemaError for another schema,
    STORAGE_UNAVAILABLE if the database can't be reached, ValueError for a URL of another kind.
    """
    database = Database(database_url, patient=True)
    try:
        database.require_schema()
        with _snapshot(database) as cursor:
            return [
                finding
                for invariants, reading in _READINGS
                for finding in _examine(database, cursor, invariants, reading)
            ]
    except Exception as error:
        raise refusal(error) from None


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


def _reading(subject: Subject) -> Statement:
    """Reads what breaks an invariant of the subject: its ID, and whether it breaks each of them."""
    broken = list(subject.invariants.values())
    return Statement(select(subject.id, *broken).select_from(subject.rows).where(or_(*broken)))


_READINGS = [(list(subject.invariants), _reading(subject)) for subject in SUBJECTS]


def _examine(
    database: Database, cursor: Any, invariants: list[str], reading: Statement
) -> list[Finding]:
    """Returns a finding for each invariant of a subject, all from one reading of it."""
    findings = [Finding(text) for text in invariants]
    cursor.execute(*reading.bind(database.engine.dialect, (), {}))
    for id_, *flags in cursor:
        for finding, is_broken in zip(findings, flags, strict=True):
            if is_broken:
                finding.count += 1
                if len(finding.ids) < MOST_IDS:
                    finding.ids.append(id_)
    return findings
