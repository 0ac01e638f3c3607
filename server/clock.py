"""The time that all of the service goes by."""

from datetime import UTC, datetime


def now() -> datetime:
    """Returns the time by this machine's clock, aware, in UTC."""
    return datetime.now(UTC)
