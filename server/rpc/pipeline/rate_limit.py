"""How many calls a second one caller may make."""

import time
from collections import OrderedDict
from collections.abc import Callable

from server.domain.errors import BillingError, Reason

# Callers whose buckets are kept; the one that has not called for longest makes room.
_MOST_CALLERS = 10_000


class RateLimit:
    """A token bucket for each caller that holds one second's worth of calls. 0 sets no limit."""

    def __init__(
        self,
        calls_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        within_s: float = 1.0,
    ) -> None:
        """`within_s` is how many seconds' worth a bucket holds instead. `refused` counts refusals."""
        self.refused = 0
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
            self.refused += 1
            raise rate_exceeded(self._rate, retry_after_s=(1 - left) / self._rate)
        self._buckets[caller] = (left - 1, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)


def rate_exceeded(calls_per_s: float, retry_after_s: float) -> BillingError:
    """Returns the refusal of a call that is one too many."""
    return BillingError(
        Reason.RATE_EXCEEDED,
        f"More than {calls_per_s:g} calls a second; slow down and try again.",
        metadata={"callsPerSecond": f"{calls_per_s:g}"},
        retry_after_s=retry_after_s,
    )
