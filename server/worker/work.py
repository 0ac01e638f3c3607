"""What the runner asks of each kind of background work: a handler, one a kind.

A new kind is a table with due work (`server/storage/work`), a handler beside those in `handlers/`,
and one more `Runner` in `build_worker` (`server/composition/worker.py`).
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

# Records an outcome; called again while the storage can't answer. Returns False, and has changed
# nothing, where another worker has taken the work over.
Record = Callable[[], Awaitable[bool]]


class Claimed(Protocol):
    """Work that one worker has claimed until `lease_until`.

    `attempt` counts claims from 1; whoever has been overtaken by a later one can record nothing.
    `tries` counts the tries before this one that failed, by which the next delay is chosen.
    `requested_at` is when the work was asked for.
    """

    @property
    def attempt(self) -> int: ...
    @property
    def tries(self) -> int: ...
    @property
    def lease_until(self) -> datetime: ...
    @property
    def requested_at(self) -> datetime: ...


ClaimedT = TypeVar("ClaimedT", bound=Claimed)


class Handler(Protocol[ClaimedT]):
    """One kind of work. The runner decides when and how often; the handler knows what is done.

    `name` is what the log calls the work, in the plural and in lower case.
    """

    @property
    def name(self) -> str: ...

    def id_of(self, work: ClaimedT) -> str:
        """Returns what the log calls this piece of work: an ID, never a name or an address."""
        ...

    async def claim(
        self, limit: int, lease: timedelta, max_due_ahead: timedelta, *, retries_first: bool
    ) -> Sequence[ClaimedT]:
        """Claims work that is due, new work before what is tried again unless `retries_first`.

        What is due later than `max_due_ahead` from now was dated by a wrong clock, unless the
        handler knows better, and counts as due.
        """
        ...

    async def wait_for_work(self, longest: timedelta) -> bool:
        """Returns when work may be due, or after the longest time.

        True where there is word of something new, which comes once for each: nobody need fear that it
        comes again and again for work that can't be claimed.
        """
        ...

    async def attempt(self, work: ClaimedT) -> Record:
        """Does the work once, and returns what records its end, good or bad.

        Raises any exception where it may go better later. Cancelled past its time limit, when it
        must leave nothing behind.
        """
        ...

    def put_off(self, work: ClaimedT, error: Exception, next_try_at: datetime) -> Record:
        """Returns what records that an attempt failed and when the next one comes.

        `error` is what `attempt` raised; TimeoutError past its time limit. Tells the log.
        """
        ...

    def give_up(self, work: ClaimedT, error: Exception) -> Record:
        """Returns what records that the last attempt failed. Tells the log."""
        ...

    async def give_back(self, work: ClaimedT) -> bool:
        """Records that another worker may claim the work at once. Returns what a `Record` does."""
        ...

    async def close(self) -> None:
        """Gives back what the handler holds, such as connections."""
        ...
