"""Requests on many streams of HTTP/2, none of whose answers may have a byte of body."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.strangers.attack import Progress, Target
from tests.tasks import meanwhile

_STREAMS = 100
_AGAIN_S = 0.5


def _asked(headers: dict[str, str]) -> bytes:
    """Returns what opens a connection and all its streams."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    headers = {":method": "GET", ":scheme": "http", ":authority": "localhost"} | headers
    for _ in range(_STREAMS):
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, list(headers.items()), end_stream=True)
    return connection.data_to_send()


@contextlib.asynccontextmanager
async def hold_unread(
    target: Target, count: int, progress: Progress, headers: dict[str, str]
) -> AsyncIterator[None]:
    """Keeps so many requests with these headers, at least `:path`, waiting for a reader."""
    asked = _asked(headers)

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(*target.http)
                with contextlib.closing(writer):
                    writer.write(asked)
                    while await reader.read(1 << 16):
                        pass
            await asyncio.sleep(_AGAIN_S)

    tasks = [asyncio.create_task(one()) for _ in range(count // _STREAMS)]
    progress(count)
    async with meanwhile(tasks):
        yield
