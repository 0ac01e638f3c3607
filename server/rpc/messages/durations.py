"""Lengths of time as protobuf has them."""

from datetime import timedelta

from google.protobuf import duration_pb2

_SECOND = timedelta(seconds=1)


def read_duration(asked: duration_pb2.Duration, least: timedelta, most: timedelta) -> timedelta:
    """Returns a length from `least` to `most`; raises ValueError, whose text says what is allowed."""
    total_ns = asked.seconds * 10**9 + asked.nanos
    within = least // _SECOND * 10**9 <= total_ns <= most // _SECOND * 10**9
    if not within or not 0 <= asked.nanos < 10**9 or asked.seconds < 0:
        days = most.days
        raise ValueError(f"Must be from {least // _SECOND}s to {days * 86_400}s ({days} days).")
    return timedelta(seconds=asked.seconds, microseconds=asked.nanos // 1000)
