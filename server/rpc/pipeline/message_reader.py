"""Reads a request's message; refuses what is missing, cut short or too large, also once unpacked.

grpc.aio's own handlers never answer a call that ends before its message is whole, and the core
unpacks compressed messages without a bound: one megabyte of gzip can be a gigabyte of zeros. So
methods are served as if they took streams, the core's unpacking is off (`grpc_core.options`), and the one
message is read here.
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.call_context import ServicerContext

MessageT = TypeVar("MessageT")

# What a call may take to bring its message.
ARRIVAL_S = 5.0
# The core tells neither that a message came compressed nor how: the first byte does. No protobuf
# begins with gzip's; zlib's could be a field of number 15, so what does not unpack is left as it is.
_GZIP, _ZLIB = 0x1F, 0x78
_EITHER = 32 + zlib.MAX_WBITS


class MessageReader:
    """Waits for messages, for a bounded time and a bounded number of calls at once.

    Where more calls wait, those that have waited longest are refused. So a caller that sends its
    message with the call, as all clients do, is never refused because others send none.
    """

    def __init__(self, most: int, within_s: float = ARRIVAL_S) -> None:
        self._most = most
        self._within_s = within_s
        # The calls that wait, the oldest first, and since when; those that are to wait no longer.
        self._since: dict[asyncio.Task[Any], float] = {}
        self._given_up: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.TimerHandle | None = None

    async def read(self, context: ServicerContext, most_bytes: int) -> bytes:
        """Returns the call's one message of at most `most_bytes`.

        Raises REQUEST_MALFORMED where there is none or it is not whole, DEADLINE_EXCEEDED where it
        takes too long, REQUEST_TOO_LARGE.
        """
        raw = await self.next(context)
        if raw is None:
            raise BillingError(
                Reason.REQUEST_MALFORMED,
                "The call ended before its message was whole; send it again.",
            )
        return unpacked(raw, most_bytes)

    async def next(self, context: ServicerContext) -> bytes | None:
        """Returns the next message as it came, None at the end; raises DEADLINE_EXCEEDED."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("not in a task")
        self._since[task] = loop.time()
        if len(self._since) > self._most:
            self._give_up_oldest()
        if self._looking is None:
            # One timer for all: one for each call would take longer than the rest of this.
            self._looking = loop.call_later(self._within_s, self._give_up_late, loop)
        try:
            raw = await context.read()
        except asyncio.CancelledError:
            if task not in self._given_up or task.uncancel():
                raise
            raise BillingError(
                Reason.DEADLINE_EXCEEDED,
                "The call's message did not arrive in time; send it with the call.",
                retry_after_s=1.0,
            ) from None
        finally:
            self._since.pop(task, None)
            self._given_up.discard(task)
        return raw if isinstance(raw, bytes) else None

    def _give_up_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives up those whose time is over, and looks again when that of the next is."""
        now = loop.time()
        while self._since:
            left_s = next(iter(self._since.values())) + self._within_s - now
            if left_s > 0:
                self._looking = loop.call_later(left_s, self._give_up_late, loop)
                return
            self._give_up_oldest()
        self._looking = None

    def _give_up_oldest(self) -> None:
        oldest = next(iter(self._since))
        del self._since[oldest]
        self._given_up.add(oldest)
        oldest.cancel()


def parse(from_bytes: Callable[[bytes], MessageT], raw: bytes, method: str) -> MessageT:
    """Returns the message in these bytes; raises REQUEST_MALFORMED with the method's full name."""
    try:
        return from_bytes(raw)
    except DecodeError:
        raise BillingError(
            Reason.REQUEST_MALFORMED,
            "The request is not a valid message of this method (text must be UTF-8).",
            metadata={"method": method},
        ) from None


def unpacked(raw: bytes, most: int) -> bytes:
    """Returns a message without its compression, if any; raises REQUEST_TOO_LARGE."""
    if len(raw) > most:
        raise _too_large(most)
    if not raw or raw[0] not in (_GZIP, _ZLIB):
        return raw
    packed = zlib.decompressobj(_EITHER)
    try:
        plain = packed.decompress(raw, most + 1)
    except zlib.error:
        return raw
    if len(plain) > most:
        raise _too_large(most)
    return plain if packed.eof and not packed.unused_data else raw


def _too_large(most: int) -> BillingError:
    return BillingError(
        Reason.REQUEST_TOO_LARGE,
        f"The message is larger than {most} bytes; send less at a time.",
        metadata={"maxBytes": str(most)},
    )
