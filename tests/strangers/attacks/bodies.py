"""Bodies that never end: two connections with 400 requests each, all but the last byte of 1 MB sent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_CONNECTIONS = 2
_BYTES = 1_000_000
_PATHS = ("/billing/v1/customers:invite", "/iam/v1/tokens", "/nothing/there", "/invitations/a")


class Connection:
    """An HTTP/2 connection with requests that get as much of their bodies as fits, and never the end."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._left: dict[int, int] = {}
        self._wanted = 0

    async def hold(self, target: Target, count: int) -> None:
        """Opens so many requests, others in their place as they end, until cancelled."""
        self._wanted = count
        reader, writer = await asyncio.open_connection(*target.http)
        self._http.initiate_connection()
        try:
            while True:
                self._begin()
                self._send()
                writer.write(self._http.data_to_send())
                await writer.drain()
                data = await reader.read(1 << 16)
                if not data:
                    return
                for event in self._http.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                        self._left.pop(event.stream_id or 0, None)
        finally:
            writer.transport.abort()

    def _begin(self) -> None:
        most = min(self._wanted, self._http.remote_settings.max_concurrent_streams)
        while len(self._left) < most:
            stream = self._http.get_next_available_stream_id()
            headers = [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", _PATHS[stream // 2 % len(_PATHS)]),
                (":authority", "localhost"),
                ("content-type", "application/json"),
            ]
            if self._authorization:
                headers.append(("authorization", self._authorization))
            self._http.send_headers(stream, headers)
            self._left[stream] = _BYTES - 1

    def _send(self) -> None:
        for stream, left in list(self._left.items()):
            with contextlib.suppress(h2.exceptions.H2Error):
                size = min(left, self._http.local_flow_control_window(stream))
                while size > 0:
                    some = min(size, self._http.max_outbound_frame_size)
                    self._http.send_data(stream, b" " * some)
                    self._left[stream] -= some
                    size -= some


@contextlib.asynccontextmanager
async def hold_bodies(
    target: Target, count: int, progress: Progress, authorization: str = ""
) -> AsyncIterator[None]:
    """Holds so many, with this Authorization."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, h2.exceptions.H2Error):
                await Connection(authorization).hold(target, count // _CONNECTIONS)
            await asyncio.sleep(0.2)

    tasks = [asyncio.create_task(again()) for _ in range(_CONNECTIONS)]
    await asyncio.sleep(2)
    progress(count)
    async with meanwhile(tasks):
        yield


ATTACK = Attack("bodies without end or token", "bodies", 800, 800, hold_bodies)
