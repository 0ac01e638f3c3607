"""An upstream, by frames of HTTP/2, that takes each request whole and breaks its stream off."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.errors
import h2.events


class Resetting:
    """Resets every stream with one error code; counts those it has seen by path."""

    def __init__(self, code: h2.errors.ErrorCodes) -> None:
        self._code = code
        self.seen: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        config = h2.config.H2Configuration(client_side=False)
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.seen[dict(event.headers)[b":path"].decode()] += 1
                elif isinstance(event, h2.events.StreamEnded):
                    connection.reset_stream(event.stream_id, self._code)
            writer.write(connection.data_to_send())
        writer.close()


@asynccontextmanager
async def resetting(code: h2.errors.ErrorCodes) -> AsyncIterator[tuple[Resetting, str]]:
    """Runs one; gives it and its address."""
    upstream = Resetting(code)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield upstream, f"{host}:{port}"
    finally:
        server.close()
