"""The rows of one import while it runs: in a temporary file, so that memory stays as it is."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from billing.v1 import customer_service_pb2

from client.importing import rows
from client.importing.results import DONE, FAILED, INVALID, INVITED, Result

_PAGE_ROWS = 500
_TABLES = f"""
PRAGMA journal_mode = OFF;
CREATE TABLE rows (
  line INTEGER PRIMARY KEY, key TEXT UNIQUE, contact TEXT UNIQUE, request BLOB
);
CREATE TABLE wrong (line INTEGER, title TEXT, message TEXT);
CREATE INDEX wrong_lines ON wrong (line);
CREATE TABLE results (
  row INTEGER, external_id TEXT, customer TEXT, operation TEXT, state TEXT, error TEXT,
  key TEXT PRIMARY KEY
);
CREATE VIEW todo AS
  SELECT rows.line, rows.key, rows.request, coalesce(results.operation, '') AS operation
  FROM rows LEFT JOIN results USING (key)
  WHERE coalesce(results.state, '') NOT IN {DONE}
  AND NOT EXISTS (SELECT 1 FROM wrong WHERE wrong.line = rows.line);
"""  # noqa: S608 - states of ours


class Todo(NamedTuple):
    """A row that is to be invited, with the key of that call."""

    line: int
    row_key: str
    key: str
    request: customer_service_pb2.InviteCustomerRequest


class Count(NamedTuple):
    """How many rows there are, are to be invited, are wrong; how many results of each state."""

    rows: int
    todo: int
    wrong: int
    states: dict[str, int]


class Spool:
    """The rows, what is wrong with them, and what became of them."""

    def __init__(self) -> None:
        # An empty name is a file without one, which is gone when the program ends, however it ends.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_TABLES)

    def fill(self, known: Iterable[Result]) -> None:
        """Takes what an earlier run did; of several lines of a row the last one holds."""
        self._db.executemany(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)",
            (each._replace(row=None) for each in known if each.state in (*DONE, FAILED)),
        )

    def add(self, line: int, request: customer_service_pb2.InviteCustomerRequest) -> int | None:
        """Adds a row; returns the line of one that is for the same customer already."""
        key, contact = str(rows.key(request)), rows.contact(request.customer)
        inserted = self._db.execute(
            "INSERT OR IGNORE INTO rows (line, key, contact, request) VALUES (?, ?, ?, ?)",
            (line, key, contact, request.SerializeToString()),
        )
        if inserted.rowcount:
            self._db.execute("UPDATE results SET row = ? WHERE key = ?", (line, key))
            return None
        (other,) = self._one(
            "SELECT min(line) FROM rows WHERE key = ? OR contact = ?", key, contact
        )
        return int(other)

    def add_wrong(self, line: int, title: str, message: str) -> None:
        """Notes what is wrong with a row; `title` is of its column, or empty."""
        self._db.execute("INSERT INTO wrong VALUES (?, ?, ?)", (line, title, message))

    def todo(self) -> Iterator[Todo]:
        """Yields the rows that are to be invited, in their order; results may be noted meanwhile."""
        line = 0
        while found := self._db.execute(
            "SELECT * FROM todo WHERE line > ? ORDER BY line LIMIT ?", (line, _PAGE_ROWS)
        ).fetchall():
            for line, key, content, operation in found:
                request = customer_service_pb2.InviteCustomerRequest.FromString(content)
                yield Todo(line, key, rows.key_after(key, operation), request)

    def under_way(self) -> Iterator[Result]:
        """Yields the rows whose e-mail is on its way; results may be noted meanwhile."""
        line = 0
        while found := self._db.execute(
            "SELECT * FROM results WHERE row > ? AND state = ? ORDER BY row LIMIT ?",
            (line, INVITED, _PAGE_ROWS),
        ).fetchall():
            for values in found:
                yield Result(*values)
            line = found[-1][0]

    def wrong(self) -> Iterator[tuple[int, str, str]]:
        """Yields what is wrong: line, title of the column or "", and why."""
        yield from self._db.execute("SELECT * FROM wrong ORDER BY line, rowid")

    def note(self, result: Result) -> None:
        """Notes what became of a row."""
        self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", result)

    def results(self) -> Iterator[Result]:
        """Yields what is known, in the order of the rows; those that the file lacks are last."""
        found = self._db.execute(
            """
            SELECT * FROM (
              SELECT * FROM results
              UNION ALL
              SELECT line, '', '', '', ?, group_concat(trim(title || ' ' || message), '; '), ''
              FROM wrong WHERE line NOT IN (SELECT row FROM results WHERE row IS NOT NULL)
              GROUP BY line
            ) ORDER BY row IS NULL, row
            """,
            (INVALID,),
        )
        yield from (Result(*values) for values in found)

    def count(self) -> Count:
        """Counts the rows."""
        states = self._db.execute(
            "SELECT state, count(*) FROM results WHERE row IS NOT NULL GROUP BY state"
        )
        (count,) = self._one("SELECT count(*) FROM rows")
        (todo,) = self._one("SELECT count(*) FROM todo")
        (wrong,) = self._one("SELECT count(DISTINCT line) FROM wrong")
        return Count(count, todo, wrong, dict(states))

    def _one(self, statement: str, *values: object) -> tuple[int, ...]:
        found: tuple[int, ...] = self._db.execute(statement, values).fetchone()
        return found
