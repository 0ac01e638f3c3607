"""The sandbox's clock: the machine's, wound on as far as callers asked for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from files.private import replace_private

_MICROSECOND = timedelta(microseconds=1)


class SandboxClock:
    """Tells the time. How far it was wound is kept in a file, since it must not go back at a restart."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ahead = int(file.read_text()) * _MICROSECOND if file.exists() else timedelta()

    def __call__(self) -> datetime:
        """Returns the time, aware."""
        return datetime.now(UTC) + self._ahead

    def wind(self, by: timedelta) -> None:
        """Winds it on. Raises OverflowError where the calendar ends."""
        # Times that follow from this one, such as expiries, must be in the calendar too.
        _ = self() + by + timedelta(days=10_000)
        self._ahead += by
        replace_private(self._file, str(self._ahead // _MICROSECOND).encode())


def clock_of(var: Path) -> SandboxClock:
    """Returns the clock of the sandbox that has this folder; where there is none, the machine's time."""
    return SandboxClock(var / "sandbox-clock")
