"""One stream of events: from where its caller stands to the end of the log, and on as that grows."""

import asyncio
from collections.abc import Awaitable, Callable

from server.domain.errors import BillingError, Reason
from server.domain.events import Event, event_id
from server.domain.filters import Filter, matches
from server.rpc.pipeline.concurrency import RoundRobin, Turn
from server.rpc.streams.encodings import Encoded, Encoding
from server.rpc.streams.feed import Feed, Read

# The position comes after so long without a message, at the next look of `Streams`.
HEARTBEAT_S = 10.0
# A reader whose connection takes nothing for so long is ended.
SLOWEST_S = 10.0
_PAGE = 100
# Events passed over before other calls have their turn.
_PASSED_IN_TURN = 32


class Stream:
    """Sends events after a position. What it has not sent yet is in the log, not in memory."""

    def __init__(
        self,
        caller: str,
        reseller_id: str,
        position: int,
        filter_: Filter | None,
        encoding: Encoding,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """`write` returns once the connection has taken what was written."""
        self.reseller_id = reseller_id
        self.has_begun = False
        self._caller = caller
        self._position = position
        self._filter = filter_
        self._encoding = encoding
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._heartbeat_at = 0.0
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._writing_since: float | None = None
        self._error: BillingError | None = None
        # When it is broken off, whether or not its reader has taken the last message.
        self._breaks_off_at: float | None = None
        self._ends_at_once = False
        self._is_stuck = False
        self._is_last_round = False

    @property
    def position(self) -> str:
        """The ID of the event to go on after."""
        return event_id(self.reseller_id, self._position)

    def wake(self) -> None:
        """Has it look at what has been read."""
        self._awake.set()

    def finish(self) -> None:
        """Ends it with SERVER_STOPPING once what has been read is sent."""
        self._is_last_round = True
        self._awake.set()

    def end(self, error: BillingError, *, at_once: bool = True) -> None:
        """Ends it with an error, whatever it is doing.

        Where a last message tells of the error, one that is being written goes first: while the core
        has a message, it takes no other. A reader that has not taken both by the next look at its
        speed is broken off or, if not `at_once`, one that takes nothing for SLOWEST_S.
        """
        if self._error is None and self._task:
            self._error = error
            self._ends_at_once = at_once
            self._breaks_off_at = self._loop.time() + (0.0 if at_once else SLOWEST_S)
            if self._writing_since is None or not self._encoding.tells_errors:
                self._task.cancel()

    async def tell(self, message: bytes, error: BillingError) -> None:
        """Sends the last message, of an error; raises that where its reader takes nothing any more."""
        if self._is_stuck:
            raise error from None
        if not self._ends_at_once:
            self._breaks_off_at = self._loop.time() + SLOWEST_S
        try:
            await self._write(message)
        except asyncio.CancelledError:
            if not self._is_stuck or (self._task and self._task.uncancel()):
                raise
            raise error from None

    @property
    def needs_heartbeat(self) -> bool:
        """Whether it has sent nothing for so long that it is to be woken, to tell its position."""
        return self._writing_since is None and self._loop.time() >= self._heartbeat_at

    def look_at_speed(self) -> None:
        """Ends it where its reader is too slow; breaks it off where that can't be told."""
        now = self._loop.time()
        if self._breaks_off_at is not None and self._task:
            if now > self._breaks_off_at and not self._is_stuck:
                self._is_stuck = True
                self._task.cancel()
        elif self._writing_since is not None and now - self._writing_since > SLOWEST_S:
            self.end(_too_slow(), at_once=False)

    async def run(
        self, feed: Feed, read: Read, turns: RoundRobin, tell_begun: Callable[[], None]
    ) -> None:
        """Sends until the caller goes, or raises why it ends; `turns` are for those who are behind.

        `tell_begun` is called once it has begun.
        """
        self._task = asyncio.current_task()
        try:
            await self._send(self._encoding.opening(self.position))
            self.has_begun = True
            tell_begun()
            while True:
                if feed.covers(self._position):
                    await self._follow(feed)
                else:
                    await self._read_page(read, turns)
                await self._send_heartbeat()
                if self._is_last_round and (
                    self._position >= feed.read_to or not feed.covers(self._position)
                ):
                    raise stopping()
        except asyncio.CancelledError:
            if self._error is None or (self._task and self._task.uncancel()):
                raise
            raise self._error from None

    async def _follow(self, feed: Feed) -> None:
        """Sends what the feed has; waits where that is nothing."""
        if self._position >= feed.read_to and not self._is_last_round:
            await self._awake.wait()
        self._awake.clear()
        passed = 0
        while self._position < feed.read_to:
            event = feed.event(self._position + 1)
            if event is None:
                return
            self._position = event.event.number
            if self._fits(event.event):
                await self._send(event.by(self._encoding))
            else:
                passed += 1
                if passed % _PASSED_IN_TURN == 0:
                    await asyncio.sleep(0)

    async def _read_page(self, read: Read, turns: RoundRobin) -> None:
        """Reads on by itself, in turn with others who do."""
        turn = await Turn.of(turns, self._caller)
        try:
            page = await read(self._position, self._filter, _PAGE)
            for event in page.events:
                self._position = event.number
                await self._send(Encoded(event).by(self._encoding))
            self._position = page.read_to
        finally:
            turn.end()

    async def _send_heartbeat(self) -> None:
        if self._loop.time() >= self._heartbeat_at:
            await self._send(self._encoding.position(self.position))

    async def _send(self, message: bytes) -> None:
        """Sends a message, of the event that the position names if it has one.

        Whatever tells the position comes after it, also where the stream ends meanwhile.
        """
        self._writing_since = self._loop.time()
        await self._write(message)
        self._writing_since = None
        if self._error:
            raise self._error
        self._heartbeat_at = self._loop.time() + HEARTBEAT_S

    def _fits(self, event: Event) -> bool:
        return self._filter is None or matches(self._filter, event.value_of)


def deadline_exceeded() -> BillingError:
    """Returns what ends streams whose callers have given them a deadline."""
    return BillingError(
        Reason.DEADLINE_EXCEEDED,
        "The call's deadline has come; open the stream again after the position in this error's "
        "metadata.",
    )


def _too_slow() -> BillingError:
    return BillingError(
        Reason.READER_TOO_SLOW,
        f"Nothing was read from the stream for {SLOWEST_S:.0f} s; open it again after the position "
        "in this error's metadata.",
        retry_after_s=1.0,
    )


def stopping() -> BillingError:
    """Returns what ends the streams of a server that stops."""
    return BillingError(
        Reason.SERVER_STOPPING,
        "The server stops; open the stream again after the position in this error's metadata.",
        retry_after_s=1.0,
    )
