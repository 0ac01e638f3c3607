"""Lengths of time as protobuf has them."""

from datetime import timedelta

from google.protobuf import duration_pb2

_SECOND = timedelta(seconds=1)
# The longest that there is in protobuf, of some 10,000 years.
LONGEST = timedelta(seconds=315_576_000_000)


def read_duration(asked: duration_pb2.Duration, least: timedelta, most: timedelta) -> timedelta:
    """Returns a length from `least` to `most`; raises ValueError, whose text says what is allowed."""
    require_parts(asked)
    total_ns = asked.seconds * 10**9 + asked.nanos
    if not least // _SECOND * 10**9 <= total_ns <= most // _SECOND * 10**9:
        days = most.days
        raise ValueError(f"Must be from {least // _SECOND}s to {days * 86_400}s ({days} days).")
    return timedelta(seconds=asked.seconds, microseconds=asked.nanos // 1000)


def require_parts(asked: duration_pb2.Duration) -> None:
    """Raises ValueError for nanoseconds that no length has, whatever its seconds."""
    if abs(asked.nanos) >= 10**9 or asked.seconds * asked.nanos < 0:
        raise ValueError(
            "Its nanos must be from -999999999 to 999999999, of the sign of its seconds."
        )
