"""Folders and files that their owner alone can use, whatever the umask, also those that exist."""

import logging
import os
import stat
from pathlib import Path
from typing import IO, Any

_log = logging.getLogger(__name__)


def make_private_folder(folder: Path, *, with_contents: bool = False) -> None:
    """Makes a folder, with those above it, or closes it to others; raises OSError.

    `with_contents` closes what is in it too: for folders that hold nothing but our own.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if with_contents:
        close_folder(folder)
    else:
        close_to_others(folder)


def close_folder(folder: Path) -> None:
    """Closes a folder and all in it to others, links aside; nothing if there is none."""
    close_to_others(folder)
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            close_folder(Path(entry.path))
        elif not entry.is_symlink():
            close_to_others(Path(entry.path))


def close_to_others(path: Path) -> None:
    """Takes all rights to a folder or file from everybody but its owner; nothing if there is none.

    Folders that all use, like / and /tmp, are left as they are, and so is what belongs to another.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and not mode & stat.S_ISVTX and path != path.parent:
            path.chmod(mode & 0o700)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("others may use %s, which can't be closed: %s", path, error.strerror)


def open_private(file: Path, mode: str) -> IO[Any]:
    """Opens a file, makes it for its owner alone where there is none; raises OSError."""
    close_to_others(file)
    return open(file, mode, opener=lambda path, flags: os.open(path, flags, 0o600))


def replace_private(file: Path, content: bytes) -> None:
    """Moves new content over the old, whole or not at all; raises OSError."""
    partial = file.with_name(f".{file.name}.new")
    partial.unlink(missing_ok=True)
    with open_private(partial, "xb") as out:
        out.write(content)
    partial.replace(file)


def sync(path: Path) -> None:
    """Returns once a file's content, or which files a folder has, is on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
