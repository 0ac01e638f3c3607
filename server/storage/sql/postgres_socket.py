"""A second handle of a connection's socket, to end a wait that nothing else ends.

A machine that hangs, or that is frozen, goes on acknowledging packets: no time-out of TCP's passes, and
PostgreSQL's own are kept by the very server that says nothing. Cancelling asks that server, too.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class _HasSocket(Protocol):
    def fileno(self) -> int: ...


class SocketHandle:
    """The socket of one connection of psycopg's; `silent` is called when it is shut down.

    Its descriptor is this object's own, so none that another connection has got meanwhile is met.
    """

    def __init__(self, connection: _HasSocket, silent: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._silent = silent

    def shut_down(self) -> None:
        """Has whoever waits for an answer be told at once that there is none. From any thread."""
        self._silent()
        with suppress(OSError):  # it is down already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Gives the descriptor back; the connection itself stays as it is."""
        self._socket.close()
