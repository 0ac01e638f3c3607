"""Telling a SQLite database that has gone back, such as an old copy or a new empty one.

While events are written the database's own version number, which SQLite keeps in the file's header, is
set to the time, once a second. What it was set to stands in a file beside the database, which no copy of
that brings along. A database behind that lacks what was acknowledged.
"""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from files.private import replace_private

_log = logging.getLogger(__name__)

# Seconds since 1970, of 32 bits. Databases that earlier releases wrote have come as far as they have
# events, which are fewer.
POSITION = (
    "SELECT CASE WHEN user_version != 0 THEN user_version & 4294967295 "
    "ELSE (SELECT coalesce(sum(last), 0) FROM event_logs) END FROM pragma_user_version"
)
_ADVANCE_EVERY_S = 1.0


def seen_file(database_file: Path) -> Path:
    """Returns the file that tells how far the database has come."""
    return database_file.with_name(f"{database_file.name}-seen")


def seen_position(database_file: Path) -> int:
    """Returns how far the database had come at the least; 0 where nothing tells."""
    try:
        return int(seen_file(database_file).read_text())
    except (OSError, ValueError):
        return 0


def note_position(database_file: Path, position: int) -> None:
    """Keeps how far the database has come; that it can't be kept is no reason to fail."""
    if position > seen_position(database_file):
        with contextlib.suppress(OSError):
            replace_private(seen_file(database_file), f"{position}\n".encode())


class PositionNotes:
    """Says in the database how far it has come, and notes it. For one connection's thread."""

    def __init__(self, database_file: Path) -> None:
        self._file = database_file
        self._advanced_at_s = float("-inf")
        self._is_noted = True

    def advance(self, cursor: Any, *, last: bool = False) -> None:
        """Goes on, in a transaction that writes; once a second at most, but if it is the last one."""
        now_s = time.monotonic()
        if last or now_s - self._advanced_at_s >= _ADVANCE_EVERY_S:
            cursor.execute("PRAGMA user_version")
            ((position,),) = cursor.fetchall()
            # It grows though the clock is set back. SQLite takes signed numbers.
            position = max((position & 0xFFFFFFFF) + 1, int(time.time()))
            cursor.execute(f"PRAGMA user_version = {(position ^ 1 << 31) - (1 << 31)}")
            self._advanced_at_s = now_s
            self._is_noted = False

    def note(self, cursor: Any) -> None:
        """Notes how far that was, after the commit."""
        if self._is_noted:
            return
        try:
            cursor.execute(POSITION)
            ((position,),) = cursor.fetchall()
        except Exception as error:
            _log.debug("no position: %s", type(error).__name__)
            return
        self._is_noted = True
        note_position(self._file, position)
