"""A line for each call: what it costs, each call pays.

So lines are made here rather than by `logging`, each by one formatting with a form that is made once for
all lines that differ in numbers and IDs alone; and those of a twentieth of a second are written together.
"""

import asyncio
import atexit
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring_ascii as quoted

from server.telemetry.whole_lines import Output

_WRITE_EVERY_S = 0.05
_MOST_UNWRITTEN = 1000
# Of failures with one reason so many lines a minute are written; the rest are counted.
MOST_A_MINUTE = 60
_MINUTE_S = 60.0
_LOGGER = "billing.calls"


class CallLog:
    """The lines of calls; nothing is written before it is configured."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        """`now_s` counts seconds since 1970."""
        self.tells_success = False
        self.tells_failure = False
        self._now_s = now_s
        self._out: Output | None = None
        self._as_json = False
        self._lines: list[str] = []
        # By what lines have in common.
        self._forms: dict[tuple[str, ...], str] = {}
        self._second = -1
        self._second_text = ""
        # How often each reason came in the minute that began at `_since_s`.
        self._reasons: dict[str, int] = {}
        self._since_s = 0.0

    def configure(self, out: Output, *, as_json: bool, level: int) -> None:
        """Says where lines go, how they look, and from which level of `logging` on they are written."""
        self._out, self._as_json = out, as_json
        self._forms, self._second = {}, -1
        self.tells_success = level <= logging.INFO
        self.tells_failure = level <= logging.ERROR

    def succeeded(self, method: str, seconds: float, ids: Mapping[str, str]) -> None:
        """Tells of a call that went well; to be asked for only if `tells_success`."""
        self._add("INFO", method, "OK", "", seconds, ids)

    def sum_up(self, *, at_once: bool = False) -> None:
        """Tells of each reason how many more have failed for it, once the minute is over or `at_once`."""
        now_s = self._now_s()
        if at_once or now_s - self._since_s >= _MINUTE_S:
            self._sum_up(now_s)

    def failed(
        self, method: str, code: str, reason: str, seconds: float, ids: Mapping[str, str]
    ) -> None:
        """Tells of a call that failed; where very many do for one reason, of some and how many more."""
        self.sum_up()
        count = self._reasons[reason] = self._reasons.get(reason, 0) + 1
        if count <= MOST_A_MINUTE:
            self._add("WARNING", method, code, reason, seconds, ids)

    def write(self) -> None:
        """Writes what has come."""
        lines, self._lines = self._lines, []
        if lines and self._out:
            try:
                self._out.write("".join(lines))
                self._out.flush()
            except (OSError, ValueError):
                return  # there is nowhere to say so

    def _sum_up(self, now_s: float) -> None:
        for reason, count in self._reasons.items():
            if count > MOST_A_MINUTE:
                more = f"calls failed with {reason}: {count - MOST_A_MINUTE} more in {now_s - self._since_s:.0f} s"
                self._append(self._text("WARNING", more))
        self._reasons, self._since_s = {}, now_s

    def _add(
        self,
        level: str,
        method: str,
        code: str,
        reason: str,
        seconds: float,
        ids: Mapping[str, str],
    ) -> None:
        form = self._forms.get((method, code, reason, *ids))
        if form is None:
            form = self._forms[method, code, reason, *ids] = self._form(
                level, method, code, reason, ids
            )
        now_s = self._now_s()
        second = int(now_s)
        if second != self._second:
            self._begin_second(second)
        values = map(quoted, ids.values()) if self._as_json else ids.values()
        ms = (now_s - second) * 1000
        self._append(form % (self._second_text, ms, seconds * 1000, *values))

    def _form(self, level: str, method: str, code: str, reason: str, names: Iterable[str]) -> str:
        """Returns what makes a line of second, milliseconds, duration and IDs."""
        if self._as_json:
            parts = "".join([f', "{name}": %s' for name in names])
            why = f', "reason": "{reason}"' if reason else ""
            return (
                f'{{"at": "%s%03dZ", "level": "{level}", "logger": "{_LOGGER}", "message": '
                f'"{method} {code}", "method": "{method}", "code": "{code}"{why}, "ms": %.1f{parts}}}\n'
            )
        parts = "".join([f" {name}=%s" for name in names])
        why = f" {reason}" if reason else ""
        return f"%s%03d {level} {_LOGGER}: {method} {code}{why} %.1f ms{parts}\n"

    def _text(self, level: str, text: str) -> str:
        now_s = self._now_s()
        self._begin_second(int(now_s))
        at = f"{self._second_text}{int((now_s - self._second) * 1000):03d}"
        if self._as_json:
            return (
                f'{{"at": "{at}Z", "level": "{level}", "logger": "{_LOGGER}", '
                f'"message": {quoted(text)}}}\n'
            )
        return f"{at} {level} {_LOGGER}: {text}\n"

    def _append(self, line: str) -> None:
        lines = self._lines
        if not lines:
            asyncio.get_running_loop().call_later(_WRITE_EVERY_S, self.write)
        lines.append(line)
        if len(lines) >= _MOST_UNWRITTEN:
            self.write()

    def _begin_second(self, second: int) -> None:
        """Says the time as the other lines have it: in JSON by UTC, else the machine's."""
        self._second = second
        if self._as_json:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        else:
            self._second_text = time.strftime("%Y-%m-%d %H:%M:%S,", time.localtime(second))


CALL_LOG = CallLog()
atexit.register(CALL_LOG.write)
