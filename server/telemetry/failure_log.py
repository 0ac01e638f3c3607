"""Failures for the log: the first of a kind at once, those like it in summaries."""

import logging
import time
from collections.abc import Callable
from weakref import WeakSet

from server.telemetry.redacted_logging import described

SUMMARY_EVERY_S = 300.0
# Mail servers choose from many codes; beyond so many kinds, the rest is one.
_MOST_KINDS = 100
_REST = "other failures"
# Those in use, so that what has come to an end is summed up too.
_ALL: "WeakSet[FailureLog]" = WeakSet()


class _Kind:
    """When this kind was last told, at which level, and how many have come since."""

    __slots__ = ("level", "since", "told_at")

    def __init__(self, told_at: float, level: int) -> None:
        self.told_at = told_at
        self.level = level
        self.since = 0


class FailureLog:
    """Tells of each kind of failure once, and from then on at most every five minutes with a count.

    An outage of an hour is so a dozen lines, however many e-mails it delays.
    """

    def __init__(self, log: logging.Logger, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` counts seconds."""
        self._log = log
        self._now_s = now_s
        self._kinds: dict[str, _Kind] = {}
        _ALL.add(self)

    def tell(self, kind: str, example: str = "", level: int = logging.WARNING) -> None:
        """Tells of a failure, or counts it. `kind` holds no IDs; `example` names the first one."""
        now_s = self._now_s()
        known = self._kinds.get(kind)
        if known is None:
            self._forget(now_s)
            if len(self._kinds) >= _MOST_KINDS:
                kind = _REST
            known = self._kinds.get(kind)
        if known is None:
            self._kinds[kind] = _Kind(now_s, level)
            self._log.log(level, "%s%s", kind, f" ({example})" if example else "")
            return
        known.since += 1
        if now_s - known.told_at >= SUMMARY_EVERY_S:
            self._sum_up(kind, known, now_s)

    def tell_error(self, what: str, error: Exception, example: str = "") -> None:
        """Tells of an exception."""
        level, kind = described(what, error)
        self.tell(kind, example, level)

    def sum_up(self, *, at_once: bool) -> None:
        """Tells how many have come of each kind, where it is time or `at_once`."""
        now_s = self._now_s()
        for kind, known in list(self._kinds.items()):
            if known.since and (at_once or now_s - known.told_at >= SUMMARY_EVERY_S):
                self._sum_up(kind, known, now_s)

    def _sum_up(self, kind: str, known: _Kind, now_s: float) -> None:
        self._log.log(
            known.level, "%s: %d more in %.0f s", kind, known.since, now_s - known.told_at
        )
        known.told_at, known.since = now_s, 0

    def _forget(self, now_s: float) -> None:
        """Lets go of kinds that have not come for long, and tells what of them was not told yet."""
        for kind, known in list(self._kinds.items()):
            if now_s - known.told_at >= 2 * SUMMARY_EVERY_S:
                if known.since:
                    self._log.log(known.level, "%s: %d more before", kind, known.since)
                del self._kinds[kind]


def sum_up(*, at_once: bool = False) -> None:
    """Tells of all kinds how many more have come, once it is time; `at_once` for the process's end."""
    for failures in list(_ALL):
        failures.sum_up(at_once=at_once)
