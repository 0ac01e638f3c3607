"""Carrying signals between the processes that share a SQLite file."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from files.private import make_private_folder

_log = logging.getLogger(__name__)


def signals_folder(database_file: Path) -> Path:
    """Returns where the processes that have a SQLite file open listen to one another."""
    return database_file.with_name(f"{database_file.name}-signals")


def is_in_use(database_file: Path) -> bool:
    """Tells whether a process listens there; files are left of those that were killed."""
    folder = signals_folder(database_file)
    return folder.is_dir() and any(map(_is_heard, folder.iterdir()))


def _is_heard(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class SocketTransport:
    """A datagram socket for each process in one folder, which is made if needed.

    Raises OSError where that can't be had, for example because the path is too long for one.
    """

    def __init__(self, folder: Path, receive: Callable[[str], None]) -> None:
        self._folder = folder
        self._receive = receive
        make_private_folder(folder, with_contents=True)
        self._path = folder / secrets.token_hex(4)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, message: str) -> None:
        """Sends to all other processes; removes the sockets of those that have died."""
        try:
            others = [each for each in self._folder.iterdir() if each.name != self._path.name]
        except OSError as error:  # the folder is gone, or this process has no file left to open
            _log.debug("signal not sent: %s", error)
            return
        for path in others:
            try:
                self._socket.sendto(message.encode(), str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)
            except OSError as error:  # its buffer is full: it will look by itself
                _log.debug("signal not sent: %s", error)

    async def close(self) -> None:
        """Stops sending and receiving."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive(self._socket.recv(8192).decode("ascii", "replace"))
