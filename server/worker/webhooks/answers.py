"""Connections to receivers, on which no answer is longer than it may be.

aiohttp bounds the lines of an answer's head, and leaves off reading a body that nobody takes. But it
reads any number of informational answers (1xx), of which it keeps an object of 4 KB each until it has
looked at all that came with them, and of empty lines and extensions of chunks.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError

# Bytes that may come before the end of the final answer's head, and after it. Long before the second a
# longer body is not read on.
_MOST_BEFORE, _MOST_AFTER = 32 << 10, 1 << 20
_INFORMATIONAL = range(100, 200)


class BoundedConnector(aiohttp.TCPConnector):
    """aiohttp's, with connections that end where too much comes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        made: Callable[[asyncio.AbstractEventLoop], ResponseHandler] = _Answers
        self._factory = functools.partial(made, asyncio.get_running_loop())


class _Answers(ResponseHandler):
    """The answers on one connection, one after the other."""

    _left = 0

    def set_response_params(self, **parameters: Any) -> None:
        """Begins another one."""
        self._left = _MOST_BEFORE
        super().set_response_params(**parameters)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Takes a head that has been read, with the body behind it."""
        if data[0].code not in _INFORMATIONAL:
            self._left = _MOST_AFTER
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Reads bytes, as far as they may come."""
        while True:
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            super().data_received(piece)
            if not data:
                return
            if not self._left:
                break
        if self.transport is not None:
            self.transport.close()
            self.set_exception(HttpProcessingError(message="the answer is too long"))
