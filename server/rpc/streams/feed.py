"""The one reader of a reseller's log in this process, for all streams that are at its end."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from server.domain.errors import BillingError, Reason
from server.domain.filters import Filter
from server.rpc.streams.encodings import Encoded
from server.storage.interface import EventPage
from server.telemetry.failure_log import FailureLog

_FAILURES = FailureLog(logging.getLogger(__name__))

# The latest events that are kept for those who are a little behind.
MOST_KEPT = 1024
MOST_KEPT_BYTES = 4 << 20
_READ_AT_ONCE = 256
# A database that is away for longer ends the streams.
_MOST_FAILURES = 2
# Streams that are woken before other calls have their turn.
_WOKEN_IN_TURN = 32


# Returns events after a number that fit a filter, so many at most.
Read = Callable[[int, Filter | None, int], Awaitable[EventPage]]


class Follower(Protocol):
    """A stream that waits for new events."""

    def wake(self) -> None:
        """Has it look at what has been read."""
        ...

    def end(self, error: BillingError) -> None:
        """Ends it."""
        ...


class Feed:
    """Reads the log from where it ended at first, and keeps the latest of it."""

    def __init__(self, read_to: int, read: Read) -> None:
        self.read_to = read_to
        self.followers: set[Follower] = set()
        self._read = read
        self._kept: dict[int, Encoded] = {}
        self._bytes = 0
        self._grown = asyncio.Event()
        self._reading = asyncio.create_task(self._run())

    def covers(self, position: int) -> bool:
        """Tells whether all that was read after a number is still kept."""
        return position >= self.read_to - len(self._kept)

    def event(self, number: int) -> Encoded | None:
        """Returns an event that is kept."""
        return self._kept.get(number)

    def look(self) -> None:
        """Has it read, since there may be more."""
        self._grown.set()

    async def close(self) -> None:
        """Stops reading."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def catch_up(self) -> None:
        """Reads all that there is; raises what reading does."""
        while True:
            page = await self._read(self.read_to, None, _READ_AT_ONCE)
            if page.events:
                await self._keep(page)
            if self.read_to >= page.bounds.last:
                return

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._grown.wait()
            self._grown.clear()
            try:
                await self.catch_up()
                failures = 0
            except BillingError as error:
                failures += 1
                _FAILURES.tell_error("events can't be read", error)
                if failures >= _MOST_FAILURES:
                    self._end_all(error)
            except Exception as error:
                _FAILURES.tell_error("events can't be read", error)
                self._end_all(broken())

    def _end_all(self, error: BillingError) -> None:
        for follower in list(self.followers):
            follower.end(error)

    async def _keep(self, page: EventPage) -> None:
        for event in page.events:
            if event.number <= self.read_to:
                continue  # read by another at the same time
            kept = Encoded(event)
            self._kept[event.number] = kept
            self._bytes += kept.size
            self.read_to = event.number
            while len(self._kept) > MOST_KEPT or (
                self._bytes > MOST_KEPT_BYTES and len(self._kept) > 1
            ):
                self._bytes -= self._kept.pop(next(iter(self._kept))).size
        for turn, follower in enumerate(list(self.followers), start=1):
            follower.wake()
            if turn % _WOKEN_IN_TURN == 0:
                await asyncio.sleep(0)


def broken() -> BillingError:
    """Returns what ends streams that a fault of ours keeps from going on."""
    return BillingError(
        Reason.INTERNAL,
        "Something went wrong on our side; open the stream again after the position in this error's "
        "metadata, and report the request ID if it persists.",
    )
