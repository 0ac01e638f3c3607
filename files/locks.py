"""Locks on files, which end with their process however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from files.private import close_to_others


class LockedError(Exception):
    """Another process holds the lock; the text says which."""


@contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Holds the lock; tells whether who held it last was killed. Raises LockedError, OSError."""
    close_to_others(file)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "another"
            raise LockedError(f"process {holder}") from None
        # Who ends as it should leaves the file empty.
        was_killed = os.fstat(descriptor).st_size > 0
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        try:
            yield was_killed
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
