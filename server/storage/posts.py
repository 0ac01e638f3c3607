"""Carrying signals between processes: by sockets beside a SQLite file, or through PostgreSQL."""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

_log = logging.getLogger(__name__)

_CHANNEL = "billing_signals"
_RECONNECT_S = 1.0
_MOST_UNSENT = 1000
_LAST_SENDS_S = 1.0


class SocketPost:
    """A datagram socket for each process in one folder, which is made if needed.

    Raises OSError where that can't be had, for example because the path is too long for one.
    """

    def __init__(self, folder: Path, receive: Callable[[str], None]) -> None:
        self._folder = folder
        self._receive = receive
        folder.mkdir(exist_ok=True, mode=0o700)
        self._path = folder / secrets.token_hex(4)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(str(self._path))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, message: str) -> None:
        """Sends to all other processes; removes the sockets of those that have died."""
        for path in self._folder.iterdir():
            if path.name == self._path.name:
                continue
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


class PostgresPost:
    """LISTEN and NOTIFY, on two connections of their own.

    Notifying is no part of the transactions that are told of: it would make their commits wait
    for each other. A database that does not know LISTEN leaves those who wait to look by themselves.
    """

    def __init__(self, conninfo: str, receive: Callable[[str], None]) -> None:
        self._conninfo = conninfo
        self._receive = receive
        self._unsent: asyncio.Queue[str] = asyncio.Queue(_MOST_UNSENT)
        self._name = secrets.token_hex(4)
        self._tasks = [
            asyncio.create_task(self._keep(self._listen)),
            asyncio.create_task(self._keep(self._notify)),
        ]

    def send(self, message: str) -> None:
        """Sends to all other processes, soon."""
        with contextlib.suppress(asyncio.QueueFull):
            self._unsent.put_nowait(message)

    async def close(self) -> None:
        """Sends what is left, if that can be done soon, and stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SENDS_S):
                await self._unsent.join()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, use: Callable[[psycopg.AsyncConnection], object]) -> None:
        """Keeps a connection in use; makes a new one when it breaks."""
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
                async with connection:
                    await use(connection)  # type: ignore[misc]
            except psycopg.Error as error:
                _log.info("signals: connection lost: %s", type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self, connection: psycopg.AsyncConnection) -> None:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_CHANNEL)))
        async for notification in connection.notifies():
            sender, _, message = notification.payload.partition(" ")
            if sender != self._name:
                self._receive(message)

    async def _notify(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            message = await self._unsent.get()
            try:
                await connection.execute(
                    "SELECT pg_notify(%s, %s)", (_CHANNEL, f"{self._name} {message}")
                )
            finally:
                self._unsent.task_done()
