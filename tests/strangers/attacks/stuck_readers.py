"""One viewer asks for long lists, over many connections, and reads none of the answers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_AT_ONCE = 20
_AGAIN_S = 0.5


@contextlib.asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    asked = (
        f"GET /billing/v1/customers?resellerId={target.reseller_id}&pageSize=1000 HTTP/1.1\r\n"
        f"host: localhost\r\nauthorization: Bearer {target.token}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError), socket.socket() as connection:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await loop.sock_connect(connection, target.http)
                await loop.sock_sendall(connection, asked)
                # Until the gateway has had enough, which nobody learns who reads nothing: a look now and
                # then at one byte.
                while await loop.sock_recv(connection, 1):  # noqa: ASYNC110
                    await asyncio.sleep(5)
            await asyncio.sleep(_AGAIN_S)

    tasks: list[asyncio.Task[None]] = []
    for start in range(0, count, _AT_ONCE):
        some = min(count - start, _AT_ONCE)
        tasks += [asyncio.create_task(one()) for _ in range(some)]
        progress(some)
        await asyncio.sleep(0.05)
    async with meanwhile(tasks):
        yield


ATTACK = Attack("one viewer reads no answers", "connections", 400, 40, _hold, rows=1_000)
