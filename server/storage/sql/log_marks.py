"""Telling a whole SQLite database from one whose log is missing.

What is committed is in the log (`-wal`) first, and comes into the database file at a checkpoint. So
who copies the file alone has a database that looks sound and lacks all that was done since. To tell
it, each checkpoint is made between two commits: one that marks the log as needed, and one that takes
the mark back. The file then has the mark, and the log what takes it back: whoever reads both, as all
of SQLite's own ways to copy do, sees none.
"""

import logging
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import PoolProxiedConnection

from server.storage.sql.connections import Database
from server.storage.sql.seen_position import PositionNotes

# About how many pages are written to the log between two checkpoints, by what has been seen of
# commits and rows; larger than SQLite's own, since pages that change again and again are then copied
# less often.
_PAGES = 4000
_PAGES_OF_COMMIT = 15
# No checkpoint takes that long.
_DEAD_AFTER_S = 600

_log = logging.getLogger(__name__)


class LogMarks:
    """Makes the checkpoints of one process's writing connection, as no one else does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._process = uuid.uuid4().hex
        self._settled = False
        self._commits = 0
        self._rows = 0
        self._notes = PositionNotes(Path(str(database.url.database)))

    def wrote_events(self, cursor: Any) -> None:
        """Is told before the commit of a transaction that wrote events."""
        self._notes.advance(cursor)

    def committed(self, connection: PoolProxiedConnection) -> None:
        """Is told of each commit; makes a checkpoint after the first one, and whenever it is time."""
        self._commits += 1
        rows = connection.driver_connection.total_changes - self._rows  # type: ignore[union-attr]
        due = _PAGES_OF_COMMIT * self._commits + rows >= _PAGES
        self._notes.note(connection.cursor())
        if self._settled and not due:
            return
        self._settled = False
        cursor = connection.cursor()
        try:
            self._write(cursor, log_needed=1)
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._write(cursor, log_needed=0)
        except Exception as error:
            # Another process writes for long, or the disk is full: after the next commit again.
            _log.debug("no checkpoint: %s", type(error).__name__)
            return
        self._settled = True
        self._commits = 0
        self._rows = connection.driver_connection.total_changes  # type: ignore[union-attr]

    def closing(self, connection: PoolProxiedConnection) -> None:
        """Leaves no mark behind: the last to close has SQLite bring the log into the file."""
        if not self._commits and not self._settled:
            return
        cursor = connection.cursor()
        try:
            self._write(cursor, log_needed=None)
        except Exception as error:
            _log.debug("a mark stays: %s", type(error).__name__)
        self._notes.note(cursor)

    def _write(self, cursor: Any, log_needed: int | None) -> None:
        """Sets this process's mark, or takes it away; and those of processes that have died."""
        now_s = int(time.time())
        self._database.begin(cursor)
        try:
            cursor.execute(
                "DELETE FROM log_marks WHERE process = ? OR at_s < ?",
                [self._process, now_s - _DEAD_AFTER_S],
            )
            if log_needed is None:
                self._notes.advance(cursor, last=True)
            else:
                cursor.execute(
                    "INSERT INTO log_marks VALUES (?, ?, ?)", [self._process, now_s, log_needed]
                )
        except Exception:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
