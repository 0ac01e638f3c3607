"""When work that failed is tried again, and when it is given up."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays that double up to a longest one, until the work is given up.

    By these defaults, which are those of the settings too, the tries that follow the first come at
    most 2, 6, 14, 30, 62, 126, 254, 510, 1,022 and 2,046 s (34 min) after it, and from then on every
    30 min until five days are over, as mail servers do among themselves: some 250 tries. Jitter
    shortens each delay by up to a quarter, so that what failed together spreads out.

    first: the delay before the second try.
    longest: what delays grow up to, which is also how late the end of an outage is noticed.
    give_up_after: from the request to the last try.
    """

    first: timedelta = timedelta(seconds=2)
    longest: timedelta = timedelta(minutes=30)
    give_up_after: timedelta = timedelta(days=5)

    def next_try_at(
        self, attempt: int, now: datetime, requested_at: datetime, jitter: float
    ) -> datetime | None:
        """Returns when to try again after a number of attempts, the last one at `now`.

        `jitter` is from 0 to 1. None: it is time to give up.
        """
        give_up_at = requested_at + self.give_up_after
        if now >= give_up_at:
            return None
        delay_s = min(
            self.first.total_seconds() * 2.0 ** min(attempt - 1, 64), self.longest.total_seconds()
        )
        return min(now + timedelta(seconds=delay_s * (1 - jitter / 4)), give_up_at)
