"""How much one caller, and all callers together, may ask of the server at once."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from server.domain.errors import BillingError, Reason

_REMEMBERED = 10_000


class RateLimit:
    """A token bucket for each caller that holds one second's worth of calls. 0 sets no limit."""

    def __init__(
        self,
        calls_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        within_s: float = 1.0,
    ) -> None:
        """`within_s` is how many seconds' worth a bucket holds instead."""
        self._rate = calls_per_s
        self._size = max(calls_per_s * within_s, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, caller: str) -> None:
        """Takes one call from the caller's bucket; raises RATE_EXCEEDED when it is empty."""
        if not self._rate:
            return
        now = self._clock()
        left, since = self._buckets.pop(caller, (self._size, now))
        left = min(self._size, left + (now - since) * self._rate)
        if left < 1:
            self._buckets[caller] = (left, now)
            raise BillingError(
                Reason.RATE_EXCEEDED,
                f"More than {self._rate:g} calls a second; slow down and try again.",
                metadata={"callsPerSecond": f"{self._rate:g}"},
                retry_after_s=(1 - left) / self._rate,
            )
        self._buckets[caller] = (left - 1, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)


class Places:
    """Bounds the calls that are in work at once, and shares them out among callers.

    A caller may take a place as long as it has fewer than are left for all others. So one caller gets
    half of them, two greedy ones a third each, and there is always one for who comes next.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._taken: dict[str, int] = {}

    def take(self, caller: str) -> None:
        """Takes a place, to be given back; raises OVERLOADED."""
        taken = self._taken.get(caller, 0)
        if taken >= self._free:
            raise BillingError(
                Reason.OVERLOADED,
                "The server has as many calls in work as it can bear, or as one caller may have; "
                "try again shortly.",
                retry_after_s=1.0,
            )
        self._taken[caller] = taken + 1
        self._free -= 1

    def give_back(self, caller: str) -> None:
        """Gives a place back."""
        taken = self._taken.pop(caller) - 1
        if taken:
            self._taken[caller] = taken
        self._free += 1


class Turns:
    """Lets so many calls at a time do what is dear; those who wait come round robin by caller."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        # Callers in the order in which they are next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, caller: str) -> None:
        """Returns when it is the caller's turn, which must be given back."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hands the turn to the next."""
        while self._waiting:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self._waiting[caller] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
