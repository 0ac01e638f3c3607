"""A small HTTP server for metrics and health, bounded in all that its callers can take.

It answers GET and HEAD of a few paths and reads no bodies. aiohttp's server bounds neither how many
connect nor how long their headers take.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

# More than that many connections at once end the oldest ones: so whoever holds them open keeps nobody
# out, and takes some hundred KiB.
MOST_CONNECTIONS = 64
MOST_HEADER_BYTES = 8 << 10
REQUEST_WITHIN_S = 3.0
# All of a request, until its answer has been taken.
END_WITHIN_S = 10.0
# Ports that a process tries, from the one that is set on.
PORTS = 100


class Answer(NamedTuple):
    """What a path answers with."""

    status: HTTPStatus
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Awaitable[Answer]]]


class NoPortError(Exception):
    """There is no free port; the text says what to do."""


class Endpoint:
    """Serves pages by path."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._connections: dict[asyncio.Task[None], None] = {}
        self._server: asyncio.Server | None = None
        self._failures = FailureLog(_log)

    async def start(self, address: str, port: int) -> int:
        """Listens at the first free port from `port` on; returns which. Raises NoPortError."""
        for each in range(port, min(port + PORTS, 1 << 16)):
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(
                    self._accept, address, each, limit=MOST_HEADER_BYTES, reuse_address=True
                )
                return each
        raise NoPortError(
            f"can't listen at {address} on any port from {port} on: set BILLING_METRICS_ADDRESS to an "
            "address of this machine and BILLING_METRICS_PORT to a free port"
        )

    async def stop(self) -> None:
        """Ends all connections."""
        if self._server:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = None
        task.add_done_callback(lambda done: self._connections.pop(done, None))
        if len(self._connections) > MOST_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(END_WITHIN_S):
                async with asyncio.timeout(REQUEST_WITHIN_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                method, path = _asked(head)
                writer.write(_bytes(await self._answer(method, path), with_body=method != "HEAD"))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or says nothing that could be answered
        finally:
            writer.transport.abort()

    async def _answer(self, method: str, path: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            known = ", ".join(self._pages)
            return text(HTTPStatus.NOT_FOUND, f"there is {known}")
        if method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD alone")
        try:
            return await page()
        except Exception as error:
            self._failures.tell_error(f"{path} can't be answered", error)
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says why")


def text(status: HTTPStatus, body: str) -> Answer:
    """Returns an answer in plain text."""
    return Answer(status, "text/plain; charset=utf-8", f"{body}\n".encode())


def _asked(head: bytes) -> tuple[str, str]:
    """Returns method and path of a request, empty where it is none."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3:
        return "", ""
    return words[0], words[1].partition("?")[0]


def _bytes(answer: Answer, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (answer.body if with_body else b"")
