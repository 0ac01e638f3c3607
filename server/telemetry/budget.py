"""How many lines of one kind may be written."""

import time
from collections.abc import Callable


class Budget:
    """So many a minute; what is over is left out."""

    def __init__(self, a_minute: int = 60, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` counts seconds."""
        self._most = a_minute
        self._now_s = now_s
        self._since_s = now_s()
        self._taken = 0

    def take(self) -> bool:
        """Tells whether one more may be written, and counts it."""
        now_s = self._now_s()
        if now_s - self._since_s >= 60:
            self._since_s, self._taken = now_s, 0
        self._taken += 1
        return self._taken <= self._most
