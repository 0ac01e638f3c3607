"""Carrying signals between processes through PostgreSQL."""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterator

import psycopg
from psycopg import sql

from server.storage.notify.notifier import wait
from server.storage.sql.postgres_servers import PostgresServers
from server.storage.sql.postgres_socket import SocketHandle
from server.telemetry.failure_log import FailureLog

_CHANNEL = "billing_signals"
_RECONNECT_S = 0.25
# A connection that has been silent for so long is sent a query; if it is not answered within _SILENT_S,
# the server is taken for gone.
_PROBE_EVERY_S = 1.0
_SILENT_S = 1.5
_MOST_UNSENT = 1000
_LAST_SENDS_S = 1.0

_Use = Callable[[psycopg.AsyncConnection, SocketHandle], Coroutine[None, None, None]]


class PostgresTransport:
    """LISTEN and NOTIFY, on two connections of their own.

    Notifying is no part of the transactions that are told of: it would make their commits wait
    for each other. A database that does not know LISTEN leaves those who wait to look by themselves.
    """

    def __init__(
        self,
        servers: PostgresServers,
        listened: PostgresServers | None,
        receive: Callable[[str], None],
        look_again: Callable[[], None],
    ) -> None:
        """`listened` is where to listen, None for nowhere.

        `look_again` is called each time that listening begins: what was told before is lost.
        """
        self._receive = receive
        self._look_again = look_again
        self._failures = FailureLog(logging.getLogger(__name__))
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._has_unsent = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._name = secrets.token_hex(4)
        self._tasks = [asyncio.create_task(self._keep(self._notify, servers))]
        if listened:
            self._tasks.append(asyncio.create_task(self._keep(self._listen, listened)))

    def send(self, message: str) -> None:
        """Sends to all other processes, soon; where that takes for long, the oldest are lost."""
        self._unsent.append(message)
        self._all_sent.clear()
        self._has_unsent.set()

    async def close(self) -> None:
        """Sends what is left, if that can be done soon, and stops."""
        await wait(self._all_sent, _LAST_SENDS_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, use: _Use, servers: PostgresServers) -> None:
        """Keeps a connection in use; makes a new one when it breaks."""
        while True:
            try:
                connection = await servers.connect_async()
                handle = servers.socket_handle(connection)
                try:
                    await use(connection, handle)
                finally:
                    # Whatever a cancelled call still waits for ends with it.
                    handle.close()
                    await connection.close()
            except (psycopg.Error, OSError) as error:
                self._failures.tell(f"signals: connection lost: {type(error).__name__}")
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self, connection: psycopg.AsyncConnection, handle: SocketHandle) -> None:
        with _limited(handle):
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(_CHANNEL)))
        self._look_again()
        while True:
            async for notification in connection.notifies(timeout=_PROBE_EVERY_S):
                sender, _, message = notification.payload.partition(" ")
                if sender != self._name:
                    self._receive(message)
            await _probe(connection, handle)

    async def _notify(self, connection: psycopg.AsyncConnection, handle: SocketHandle) -> None:
        while True:
            await wait(self._has_unsent, _PROBE_EVERY_S)
            if not self._unsent:
                await _probe(connection, handle)
            while self._unsent:
                message = self._unsent[0]
                with _limited(handle):
                    await connection.execute(
                        "SELECT pg_notify(%s, %s)", (_CHANNEL, f"{self._name} {message}")
                    )
                if self._unsent and self._unsent[0] is message:
                    self._unsent.popleft()
            self._has_unsent.clear()
            self._all_sent.set()


async def _probe(connection: psycopg.AsyncConnection, handle: SocketHandle) -> None:
    """Raises the driver's error where the other side answers no more."""
    with _limited(handle):
        await connection.execute("SELECT 1")


@contextlib.contextmanager
def _limited(handle: SocketHandle) -> Iterator[None]:
    """Ends what waits for an answer once that takes too long.

    Not by a time-out around the driver's call: it would ask the server that says nothing to cancel.
    """
    end = asyncio.get_running_loop().call_later(_SILENT_S, handle.shut_down)
    try:
        yield
    finally:
        end.cancel()
