"""How log lines look: as text, or as one JSON object a line. IDs are fields, so that grep finds them.

Only what is written here can end up in a log: of libraries that is no more than warnings, without the
values that they quote, and of exceptions their types and places. A value may be somebody's name.
"""

import asyncio
import copy
import json
import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any

from server.telemetry.call_log import CALL_LOG
from server.telemetry.redacted_logging import trace
from server.telemetry.whole_lines import whole_lines

# What an ID in a line may be of, in the order in which lines have them.
FIELDS = (
    "request",
    "operation",
    "invitation",
    "customer",
    "reseller",
    "webhook",
    "event",
    "caller",
)
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_KNOWN = "ids"
# The packages whose lines are told from the level that is set on; their words are chosen with care.
OURS = ("billing", "files", "gateway", "server")
_log = logging.getLogger(__name__)

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(format_: str, level: str) -> None:
    """Has all of the process's log go to stderr, as `text` or `json`, from a level on."""
    if format_ == "json":
        # The C library below grpcio writes lines of its own, which tell no more than its exceptions.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    least = logging.getLevelName(level.upper())
    out = whole_lines(sys.stderr)
    handler = _Stderr(out)
    handler.setFormatter(_Json() if format_ == "json" else _Text(_TEXT))
    logging.basicConfig(level=max(logging.WARNING, least), handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(least)
    CALL_LOG.configure(out, as_json=format_ == "json", level=least)


def is_configured() -> bool:
    """Tells whether the log goes to stderr already."""
    return any(isinstance(each, _Stderr) for each in logging.getLogger().handlers)


def is_json() -> bool:
    """Tells whether all that the process writes to stderr is to be JSON."""
    return any(isinstance(each.formatter, _Json) for each in logging.getLogger().handlers)


def take_python_faults() -> None:
    """Has what Python would print by itself go to the log: warnings, and faults that nobody catches."""
    logging.captureWarnings(capture=True)
    sys.unraisablehook = lambda fault: tell_fault("an object's end failed", fault.exc_value)
    threading.excepthook = lambda fault: tell_fault("a thread has ended", fault.exc_value)


def tell(log: logging.Logger, level: int, text: str, **ids: str | None) -> None:
    """Logs a line with IDs: of FIELDS, never names or addresses."""
    if log.isEnabledFor(level):
        log.log(level, text, extra={_KNOWN: {name: id_ for name, id_ in ids.items() if id_}})


def tell_loop_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs what the event loop was left with; its own words quote exceptions and what they are of."""
    text = context["message"].partition("\n")[0]
    logging.getLogger("asyncio").error(text, exc_info=context.get("exception"))


def tell_fault(what: str, error: BaseException | None) -> None:
    """Logs an exception that nobody has caught."""
    _log.critical(what, exc_info=error)


class _Stderr(logging.StreamHandler[Any]):
    """Where lines go. One that can't be made or written is left out: there is nowhere to say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Writes nothing; by default a trace would be printed between the lines."""


class _Redacted(logging.Formatter):
    """Leaves out what exceptions and libraries quote."""

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        return trace(ei[1]) if ei[1] else ""


class _Text(_Redacted):
    """The text, then the IDs as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        record = _without_values(record)
        ids: dict[str, str] = getattr(record, _KNOWN, {})
        return "".join([super().format(record), *(f" {name}={id_}" for name, id_ in ids.items())])


class _Json(_Redacted):
    """One object a line, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        record = _without_values(record)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _KNOWN, {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        # In ASCII, since stderr need not be UTF-8.
        return json.dumps(line)


def _without_values(record: logging.LogRecord) -> logging.LogRecord:
    """Returns a library's line with types in place of values, but for numbers; other handlers keep theirs."""
    if record.name.partition(".")[0] in OURS:
        return record
    record = copy.copy(record)
    if not isinstance(record.msg, str):
        record.msg, record.args = type(record.msg).__name__, ()
    elif record.args:
        template = record.msg
        if isinstance(record.args, tuple):
            record.args = tuple(map(_without_value, record.args))
        else:
            record.args = {name: _without_value(each) for name, each in record.args.items()}
        try:
            record.msg, record.args = record.getMessage(), ()
        except (TypeError, ValueError, KeyError):
            record.msg, record.args = template, ()
    return record


def _without_value(value: object) -> object:
    return value if isinstance(value, int | float) else type(value).__name__
