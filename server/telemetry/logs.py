"""How log lines look: as text, or as one JSON object a line. IDs are fields, so that grep finds them."""

import json
import logging
import sys
import time
from typing import Any

from server.telemetry.call_log import CALL_LOG

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


def configure(format_: str, level: str) -> None:
    """Has all of the process's log go to stderr, as `text` or `json`, from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if format_ == "json" else _Text(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its steps are told by the command; a library's word on each request would be one more line a call.
    for name in ("alembic", "aiohttp.access", "urllib3"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    CALL_LOG.configure(
        sys.stderr, as_json=format_ == "json", level=logging.getLevelName(level.upper())
    )


def tell(log: logging.Logger, level: int, text: str, **ids: str | None) -> None:
    """Logs a line with IDs: of FIELDS, never names or addresses."""
    if log.isEnabledFor(level):
        log.log(level, text, extra={_KNOWN: {name: id_ for name, id_ in ids.items() if id_}})


class _Text(logging.Formatter):
    """The text, then the IDs as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        ids: dict[str, str] = getattr(record, _KNOWN, {})
        return "".join([super().format(record), *(f" {name}={id_}" for name, id_ in ids.items())])


class _Json(logging.Formatter):
    """One object a line, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{at}.{record.msecs:03.0f}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _KNOWN, {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
