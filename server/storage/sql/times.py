"""Times as the database keeps them: microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta
from typing import NewType

Micros = NewType("Micros", int)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> Micros:
    """Returns an aware time as the database keeps it."""
    return Micros((at - _EPOCH) // MICROSECOND)


def from_micros(at: Micros) -> datetime:
    """Returns what `micros` was given, in UTC."""
    # Exact to the microsecond until the year 2242, and half the instructions of a timedelta.
    return datetime.fromtimestamp(at / 1_000_000, UTC)


def from_micros_or_none(at: Micros | None) -> datetime | None:
    """Returns what `micros` was given, None for none."""
    return None if at is None else from_micros(at)
