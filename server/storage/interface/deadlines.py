"""How long the caller whom a task answers can be let wait."""

import contextvars
import math
import time

# An answer is to arrive this long before the caller's deadline; where less than twice as much time is
# left, when half of it has passed.
_BEFORE_S = 0.25
# In less time a database that is away can't be told from one that is busy, so shorter deadlines are not
# kept here: gRPC ends those calls.
_SHORTEST_S = 1.0

# By the monotonic clock.
_ENDS_AT_S: contextvars.ContextVar[float] = contextvars.ContextVar("ends_at_s", default=math.inf)


def end_within(seconds: float) -> None:
    """Says how long the caller of this task will wait from now on; below a second it counts as inf.

    Tasks that are begun from here on go by it too; one that works for many callers says inf.
    """
    _ENDS_AT_S.set(time.monotonic() + (seconds if seconds >= _SHORTEST_S else math.inf))


def time_to_answer_s(now_s: float) -> float:
    """Returns how long an answer may take from a time of the monotonic clock; inf for any time."""
    left_s = _ENDS_AT_S.get() - now_s
    return max(left_s - _BEFORE_S, left_s / 2)
