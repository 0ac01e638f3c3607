"""Whether SQLite's files are still those that a process has open.

A process that has them open does not learn that they were deleted, replaced or written over: it goes
on committing, into files that nobody will find again, or that hold something else.
"""

import logging
import os
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)

# Of SQLite's file format: the text that a file begins with, and what it has in WAL mode, in which a
# copy that SQLite made for a backup is not.
_MAGIC, _WAL_MODE = b"SQLite format 3\0", b"\2\2"
_HEADER_BYTES = 100
# A header that is just being written may be read in parts.
_READS = 3


class FilesMovedError(Exception):
    """SQLite's file, or its log, is no longer the one that this process has open."""


class _Header(NamedTuple):
    """What the file says of itself.

    identity: a database's own number, 0 where it has none yet (`migrate`).
    position: how far it had come at the last checkpoint (`seen_position`); changes: how often its first
    page had changed. A copy of before that lacks what is no longer in the log.
    """

    is_in_use: bool
    identity: int
    position: int
    changes: int


class DatabaseFiles:
    """Knows a database's file and its log as they were when they were opened.

    The file is opened once, and closed after all of the process's connections are: whoever closes it
    before, in whatever thread, takes SQLite's own locks on it away (POSIX, fcntl), so that another
    process takes itself for the only one, and deletes the log when it ends.
    """

    def __init__(self, file: Path) -> None:
        """Both must be open already."""
        self._file = str(file)
        try:
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1
        found = [(each, _stat(each)) for each in (self._file, f"{file}-wal")]
        self._opened = [(each, stat.st_dev, stat.st_ino) for each, stat in found if stat]
        self._written_at_ns = -1
        self._header = self._read_header()
        self.have_moved = False

    def require(self) -> None:
        """Raises FilesMovedError once one of them was deleted, replaced or written over."""
        for file, device, inode in self._opened:
            stat = _stat(file)
            same = stat and (stat.st_dev, stat.st_ino) == (device, inode)
            # Only checkpoints write to the database's file, so this is nearly always a look at its time.
            if stat and same and file == self._file and stat.st_mtime_ns != self._written_at_ns:
                same = self._is_same()
                self._written_at_ns = stat.st_mtime_ns
            if not same:
                self._tell(file)
                # What was written over stays so, until the process has started again.
                self._written_at_ns = -1
                raise FilesMovedError
        self.have_moved = False

    def _is_same(self) -> bool:
        known = self._header
        for _ in range(_READS):
            header = self._read_header()
            if known is None or (
                header
                and header.is_in_use
                and header.identity in (known.identity, known.identity or header.identity)
                and header.position >= known.position
                and header.changes >= known.changes
            ):
                self._header = header
                return True
        return False

    def close(self) -> None:
        """To be called when all connections are closed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_header(self) -> _Header | None:
        """Returns None where there is none, as in a database of which all is still in the log."""
        try:
            raw = os.pread(self._descriptor, _HEADER_BYTES, 0)
        except OSError:
            return None
        if len(raw) < _HEADER_BYTES:
            return None
        in_use = raw.startswith(_MAGIC) and raw[18:20] == _WAL_MODE
        identity, position, changes = (
            int.from_bytes(raw[offset : offset + 4], "big") for offset in (68, 60, 24)
        )
        return _Header(in_use, identity, position, changes)

    def _tell(self, file: str) -> None:
        if not self.have_moved:
            _log.error(
                "%s was deleted, replaced or written over: stop all processes, put the right one there, "
                "and start them again; nothing is acknowledged until then",
                file,
            )
        self.have_moved = True


def _stat(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)  # noqa: PTH116 - half the time of Path's, for each transaction
    except OSError:
        return None
