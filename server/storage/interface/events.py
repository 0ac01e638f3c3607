"""The log of events: read in its order, and waited for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from server.domain.events import Event
from server.domain.filters import Filter


class LogBounds(NamedTuple):
    """What is kept of a reseller's log: events `cleared` + 1 to `last`; 0 and 0 before the first."""

    cleared: int
    last: int


class EventPage(NamedTuple):
    """Events, oldest first, and up to which number the log was read.

    `read_to` is that of the last event, or of a later one where those between did not fit.
    """

    events: Sequence[Event]
    read_to: int
    bounds: LogBounds


class EventStorage(Protocol):
    """Reads the log. Nobody who reads on after a number misses an event.

    The numbers of one reseller have no gaps, and become visible in their order.
    """

    async def get_event(self, reseller_id: str, number: int) -> Event | None:
        """Returns an event, or None."""
        ...

    async def list_events(
        self, reseller_id: str, after: int, filter_: Filter | None, limit: int
    ) -> EventPage:
        """Returns at most `limit` events after a number that fit the filter.

        Reads a bounded part of the log: where few fit, the page may be short or empty and `read_to`
        short of the last. Fields of the filter: `type`, `customer` (an ID), `createTime`,
        `actor.subject`.
        """
        ...

    async def get_log_bounds(self, reseller_id: str) -> LogBounds:
        """Returns what is kept of the log."""
        ...

    async def get_log_ends(self, reseller_ids: Sequence[str]) -> Sequence[int]:
        """Returns the number of the last event of each log, 0 before the first."""
        ...

    def on_events(self, call: Callable[[Sequence[str]], None]) -> None:
        """Has `call` called, in the event loop, with the IDs of resellers whose logs have grown.

        By whichever process; signals may be lost, so look once a second, too.
        """
        ...
