"""Unix sockets: their paths are short, and a file may be left of one whose process was killed."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Bytes that the system takes for a socket's path.
LONGEST = 107 if sys.platform == "linux" else 103
# What a socket in `socket_folder` may be called.
_LONGEST_NAME = 20


@contextmanager
def socket_folder(folder: Path) -> Iterator[Path]:
    """Gives a path that leads to the folder and is short enough for sockets with names of 20 bytes.

    Where its own is too long, it is that of a link in the folder for temporary files, as long as
    this is open. Raises OSError.
    """
    if fits(folder / ("x" * _LONGEST_NAME)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="billing-") as short:
        link = Path(short, "s")
        link.symlink_to(folder.absolute())
        yield link


def fits(path: Path) -> bool:
    """Tells whether a socket can have this path."""
    return len(os.fsencode(path)) <= LONGEST


def is_served(path: Path) -> bool:
    """Tells whether a process listens at the socket, rather than having left its file behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
