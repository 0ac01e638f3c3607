"""A network between a storage and PostgreSQL that breaks where the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import make_url


class Network:
    """Passes everything on until it is told to lose an answer; `sent` is what clients sent."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._flows = asyncio.Event()
        self._flows.set()
        self._freezes_at: bytes | None = None
        self.frozen = asyncio.Event()
        self._ways: set[asyncio.Task[None]] = set()
        self._lose_after: bytes | None = None
        self.sent = b""

    def lose_answer_to(self, statement: bytes) -> None:
        """Lets the next such statement reach the server and be done; cuts before the answer."""
        self._lose_after = statement

    def freeze(self, at: bytes = b"") -> None:
        """Has the server's machine hang, at once or right before the next such statement.

        It takes what is sent, and new connections, and says nothing. The server itself does what came
        before, and on `thaw` all the rest.
        """
        self.frozen.clear()
        self._freezes_at = at
        if not at:
            self._freeze()

    def thaw(self) -> None:
        """Has the machine go on where it stood."""
        self._flows.set()

    def _freeze(self) -> None:
        self._freezes_at = None
        self._flows.clear()
        self.frozen.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until either side closes it, or an answer is to be lost."""
        answers, requests = await asyncio.open_unix_connection(str(self._server))
        losing = False

        async def pass_requests() -> None:
            nonlocal losing
            while data := await reader.read(1 << 16):
                self.sent += data
                if self._lose_after and self._lose_after in data:
                    self._lose_after = None
                    losing = True
                if self._freezes_at and self._freezes_at in data:
                    self._freeze()
                await self._flows.wait()
                requests.write(data)

        async def pass_answers() -> None:
            while (data := await answers.read(1 << 16)) and not losing:
                await self._flows.wait()
                writer.write(data)

        ways = {asyncio.create_task(pass_requests()), asyncio.create_task(pass_answers())}
        self._ways |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._ways -= ways
        for side in (writer, requests):
            side.close()

    async def close(self) -> None:
        """Ends all connections."""
        for way in self._ways:
            way.cancel()
        while self._ways:  # noqa: ASYNC110 - whoever serves them closes them
            await asyncio.sleep(0)


@asynccontextmanager
async def network(database_url: str) -> AsyncIterator[tuple[Network, str]]:
    """Gives a network to the database, and the database's URL by way of it."""
    url = make_url(database_url)
    way = Network(Path(str(url.query["host"])) / ".s.PGSQL.5432")
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield way, url.set(host="127.0.0.1", port=port, query={}).render_as_string(False)
    finally:
        server.close()
        await way.close()
