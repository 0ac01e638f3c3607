"""When work that failed is tried again, and when it is given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


class Retries(Protocol):
    """Says when work is tried again. `longest` is the longest delay that it asks for."""

    @property
    def longest(self) -> timedelta: ...

    def next_try_at(
        self, tries: int, now: datetime, requested_at: datetime, jitter: float
    ) -> datetime | None:
        """Returns when to try again after a number of tries, the last one at `now`.

        `jitter` is from 0 to 1. None: it is time to give up.
        """
        ...


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
        self, tries: int, now: datetime, requested_at: datetime, jitter: float
    ) -> datetime | None:
        give_up_at = requested_at + self.give_up_after
        if now >= give_up_at:
            return None
        delay_s = min(
            self.first.total_seconds() * 2.0 ** min(tries - 1, 64), self.longest.total_seconds()
        )
        return min(now + timedelta(seconds=delay_s * (1 - jitter / 4)), give_up_at)


def _delays(*texts: str) -> tuple[timedelta, ...]:
    units = {"s": "seconds", "m": "minutes", "h": "hours"}
    return tuple(timedelta(**{units[text[-1]]: float(text[:-1])}) for text in texts)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Delays one by one, until the work is given up.

    The defaults are those of webhooks: after the first try that failed another one at once, then
    after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 hours: 11 tries in about three days. Jitter
    lengthens or shortens each delay by up to a tenth, so that what failed together spreads out.
    """

    delays: Sequence[timedelta] = _delays(
        "0s", "5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"
    )

    @property
    def longest(self) -> timedelta:
        return max(self.delays)

    def next_try_at(
        self,
        tries: int,
        now: datetime,
        requested_at: datetime,  # noqa: ARG002 - what counts is how often it was tried
        jitter: float,
    ) -> datetime | None:
        if tries > len(self.delays):
            return None
        return now + self.delays[tries - 1] * (0.9 + jitter / 5)
