"""Finding the server of a PostgreSQL that takes writes, where several are named.

Only imported where PostgreSQL is used: its driver takes a good part of a server's start.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg.errors import ConnectionTimeout

from server.storage.sql.postgres_socket import SocketHandle

# A server that kept silent is asked again after this time, doubled as long as it does: each try costs
# as long as it may take to connect, in which another may have become the leader. One that is only slow
# may be the leader still.
_SILENT_FIRST_S, _SILENT_MOST_S = 2.0, 10.0

_PORT = 5432

Server = tuple[str, int]  # host, or folder of a socket, and port


class PostgresServers:
    """The servers that an address names, in the order in which they are asked; used by all threads.

    First the one that was connected to last. libpq would begin with the same one each time, also
    where that is a machine that hangs.
    """

    def __init__(
        self, parameters: dict[str, Any], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`parameters` are those of psycopg's connect, `host` and `port` with commas."""
        self.parameters = dict(parameters)
        hosts = str(self.parameters.pop("host", "")).split(",")
        ports = [int(port or _PORT) for port in str(self.parameters.pop("port", "")).split(",")]
        ports = ports * len(hosts) if len(ports) == 1 else ports
        self._servers: list[Server] = list(zip(hosts, ports, strict=True))
        self._now_s = now_s
        # Until when those who kept silent are left out, and for how long that is.
        self._silent: dict[Server, tuple[float, float]] = {}
        if len(self._servers) > 1:
            # A standby would be read from as it was a while ago.
            self.parameters.setdefault("target_session_attrs", "read-write")

    def connect(self, **options: Any) -> psycopg.Connection:
        """Returns a connection; raises the driver's error of the server that was asked last."""
        for host, port in self._order():
            try:
                connection = psycopg.connect(**self.parameters, host=host, port=port, **options)
            except psycopg.Error as error:
                failure = self._failed((host, port), error)
            else:
                self._found((host, port))
                return connection
        raise failure

    async def connect_async(self) -> psycopg.AsyncConnection:
        """Returns a connection in autocommit mode; raises the driver's error as `connect` does."""
        for host, port in self._order():
            try:
                connection = await psycopg.AsyncConnection.connect(
                    **self.parameters, host=host, port=port, autocommit=True
                )
            except psycopg.Error as error:
                failure = self._failed((host, port), error)
            else:
                self._found((host, port))
                return connection
        raise failure

    def socket_handle(
        self, connection: psycopg.Connection | psycopg.AsyncConnection
    ) -> SocketHandle:
        """Returns what ends a wait on one of these connections, for a server that says nothing."""
        server = connection.info.host, connection.info.port
        return SocketHandle(connection, partial(self._kept_silent, server))

    def _kept_silent(self, server: tuple[str, int]) -> None:
        now_s = self._now_s()
        until_s, for_s = self._silent.get(server, (now_s, _SILENT_FIRST_S / 2))
        if until_s <= now_s:  # else another thread has found the same
            for_s = min(2 * for_s, _SILENT_MOST_S)
            self._silent[server] = now_s + for_s, for_s

    def _order(self) -> list[Server]:
        now_s = self._now_s()
        servers = list(self._servers)
        talk = [each for each in servers if self._silent.get(each, (0.0, 0.0))[0] <= now_s]
        return talk or servers

    def _found(self, server: Server) -> None:
        self._silent.pop(server, None)
        if self._servers[0] != server:
            others = [each for each in self._servers if each != server]
            self._servers = [server, *others]

    def _failed(self, server: Server, error: psycopg.Error) -> psycopg.Error:
        if isinstance(error, ConnectionTimeout):
            self._kept_silent(server)
        return error
