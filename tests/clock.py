"""The time of tests: it stands until a test moves it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class Clock:
    """A clock for the service. `wrong_by` is how far the machine's time of day is off."""

    at: datetime = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)
    wrong_by: timedelta = timedelta()

    def __call__(self) -> datetime:
        return self.at + self.wrong_by

    def advance(self, by: timedelta) -> None:
        self.at += by

    def monotonic(self) -> float:
        """Returns the seconds that have passed, whatever the time of day was set to."""
        return self.at.timestamp()


@dataclass
class Stopwatch:
    """Seconds, as a monotonic clock counts them."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at
