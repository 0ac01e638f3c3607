"""Telling a SQLite database that has gone back, such as an old copy or a new empty one.

How far its logs of events have come stands in a file beside it, which no copy of the database brings
along. A database behind that lacks what was acknowledged.
"""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from files.private import replace_private

_log = logging.getLogger(__name__)

# Events of all resellers; their numbers are never given again.
POSITION = "SELECT coalesce(sum(last), 0) FROM event_logs"
_NOTE_EVERY_S = 1.0


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
    """Notes how far the database has come, once a second at most. For one connection's thread."""

    def __init__(self, database_file: Path) -> None:
        self._file = database_file
        self._noted_at_s = float("-inf")

    def committed(self, cursor: Any, *, last: bool = False) -> None:
        """Is told of commits; `last`: none follows soon."""
        now_s = time.monotonic()
        if not last and now_s - self._noted_at_s < _NOTE_EVERY_S:
            return
        self._noted_at_s = now_s
        try:
            cursor.execute(POSITION)
            ((position,),) = cursor.fetchall()
        except Exception as error:
            _log.debug("no position: %s", type(error).__name__)
            return
        note_position(self._file, position)
