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
        self._lose_after: bytes | None = None
        self.sent = b""

    def lose_answer_to(self, statement: bytes) -> None:
        """Lets the next such statement reach the server and be done; cuts before the answer."""
        self._lose_after = statement

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
                requests.write(data)

        async def pass_answers() -> None:
            while (data := await answers.read(1 << 16)) and not losing:
                writer.write(data)

        ways = [asyncio.create_task(pass_requests()), asyncio.create_task(pass_answers())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for side in (writer, requests):
            side.close()


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
