"""Requests whose headers are small on the wire and large once unpacked (HPACK), and which never end.

Every other connection leaves its last block of headers without an end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import Frame, HeadersFrame, RstStreamFrame, SettingsFrame

from tests.strangers.attack import Attack, Progress, Target
from tests.tasks import meanwhile

_ADDRESS = "127.0.0.2"
_STREAMS = 64
# One entry of the table of 4 KiB that both ends keep, and how often a request refers to it: as often as it
# may, or far too often.
_VALUE = b"y" * 4000
_TIMES = (9, 62)
_PATHS = (b"/billing/v1/customers:invite", b"/iam/v1/tokens", b"/nothing/there")
_TYPES = (b"application/json", b"application/grpc")
_AGAIN_S = 0.1


class _Connection:
    """What one connection has to say."""

    def __init__(self, number: int) -> None:
        self._encoder = Encoder()
        self._number = number
        self._next = 1

    def request(self, *, ends: bool = True) -> bytes:
        """Returns the headers of one more request."""
        number = self._next // 2 + self._number
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            NeverIndexedHeaderTuple(b":authority", b"localhost"),
            NeverIndexedHeaderTuple(b":path", _PATHS[number % len(_PATHS)]),
            NeverIndexedHeaderTuple(b"content-type", _TYPES[number % len(_TYPES)]),
            NeverIndexedHeaderTuple(b"authorization", b"Bearer %d" % number),
            *([(b"x-a", _VALUE)] * _TIMES[number % 2]),
        ]
        frame = HeadersFrame(self._next, self._encoder.encode(headers))
        if ends:
            frame.flags.add("END_HEADERS")
        self._next += 2
        return bytes(frame.serialize())


async def _hold(target: Target, number: int) -> None:
    reader, writer = await asyncio.open_connection(*target.http, local_addr=(_ADDRESS, 0))
    connection = _Connection(number)
    with contextlib.closing(writer):
        begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
        requests = b"".join(connection.request() for _ in range(_STREAMS - 1))
        writer.write(begin + requests + connection.request(ends=bool(number % 2)))
        while True:
            frame, length = Frame.parse_frame_header(memoryview(await reader.readexactly(9)))
            await reader.readexactly(length)
            is_over = isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags
            if is_over and number % 2:
                await asyncio.sleep(_AGAIN_S)
                writer.write(connection.request())
                await writer.drain()


@contextlib.asynccontextmanager
async def _hold_all(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    async def again(number: int) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await _hold(target, number)
            await asyncio.sleep(_AGAIN_S)

    tasks = [asyncio.create_task(again(number)) for number in range(count)]
    progress(count)
    await asyncio.sleep(2)
    async with meanwhile(tasks):
        yield


ATTACK = Attack("large headers without end", "connections", 30, 20, _hold_all)
