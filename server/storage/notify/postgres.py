"""Carrying signals between processes through PostgreSQL."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine

import psycopg
from psycopg import sql

from server.telemetry.failure_log import FailureLog

_CHANNEL = "billing_signals"
_RECONNECT_S = 1.0
_MOST_UNSENT = 1000
_LAST_SENDS_S = 1.0


class PostgresTransport:
    """LISTEN and NOTIFY, on two connections of their own.

    Notifying is no part of the transactions that are told of: it would make their commits wait
    for each other. A database that does not know LISTEN leaves those who wait to look by themselves.
    """

    def __init__(self, conninfo: str, receive: Callable[[str], None]) -> None:
        self._conninfo = conninfo
        self._receive = receive
        self._failures = FailureLog(logging.getLogger(__name__))
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

    async def _keep(
        self, use: Callable[[psycopg.AsyncConnection], Coroutine[None, None, None]]
    ) -> None:
        """Keeps a connection in use; makes a new one when it breaks."""
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
                async with connection:
                    await use(connection)
            except psycopg.Error as error:
                self._failures.tell(f"signals: connection lost: {type(error).__name__}")
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
