"""A line for each call: what it costs, each call pays.

So lines are made here rather than by `logging`, and those of a twentieth of a second are written together.
"""

import asyncio
import atexit
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from server.telemetry.whole_lines import Output

_WRITE_EVERY_S = 0.05
_MOST_UNWRITTEN = 1000
# Of failures with one reason so many lines a minute are written; the rest are counted.
MOST_A_MINUTE = 60
_MINUTE_S = 60.0
_LOGGER = "billing.calls"

_to_json = msgspec.json.Encoder().encode


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
        self._second = -1
        self._second_text = ""
        # How often each reason came in the minute that began at `_since_s`.
        self._reasons: dict[str, int] = {}
        self._since_s = 0.0

    def configure(self, out: Output, *, as_json: bool, level: int) -> None:
        """Says where lines go, how they look, and from which level of `logging` on they are written."""
        self._out, self._as_json = out, as_json
        self._second = -1
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
        at, ms = self._now(), int(seconds * 10_000 + 0.5) / 10
        if self._as_json:
            line: dict[str, object] = {
                "at": at,
                "level": level,
                "logger": _LOGGER,
                "message": f"{method} {code}",
                "method": method,
                "code": code,
            }
            if reason:
                line["reason"] = reason
            line["ms"] = ms
            line.update(ids)
            self._append(_json_line(line))
            return
        told = "".join([f" {name}={id_}" for name, id_ in ids.items()])
        why = f" {reason}" if reason else ""
        self._append(f"{at} {level} {_LOGGER}: {method} {code}{why} {ms} ms{told}\n")

    def _text(self, level: str, text: str) -> str:
        at = self._now()
        if self._as_json:
            return _json_line({"at": at, "level": level, "logger": _LOGGER, "message": text})
        return f"{at} {level} {_LOGGER}: {text}\n"

    def _now(self) -> str:
        """Says the time as the other lines have it: in JSON by UTC, else the machine's."""
        now_s = self._now_s()
        second = int(now_s)
        if second != self._second:
            self._second = second
            if self._as_json:
                self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            else:
                self._second_text = time.strftime("%Y-%m-%d %H:%M:%S,", time.localtime(second))
        ms = int((now_s - second) * 1000)
        return f"{self._second_text}{ms:03d}{'Z' if self._as_json else ''}"

    def _append(self, line: str) -> None:
        lines = self._lines
        if not lines:
            asyncio.get_running_loop().call_later(_WRITE_EVERY_S, self.write)
        lines.append(line)
        if len(lines) >= _MOST_UNWRITTEN:
            self.write()


def _json_line(values: Mapping[str, object]) -> str:
    return f"{_to_json(values).decode()}\n"


CALL_LOG = CallLog()
atexit.register(CALL_LOG.write)
