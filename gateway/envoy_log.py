"""Envoy's logs: where calls are told, and its own messages, from warnings on, as text or JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from files.private import open_private
from gateway.ports import GatewayError

# %j is the message as JSON escapes it.
_JSON_LINE = (
    '{"at": "%Y-%m-%dT%H:%M:%S.%e%z", "level": "%l", "logger": "envoy.%n", "message": "%j"}'
)


def log_options(*, as_json: bool) -> list[str]:
    """Returns the options of Envoy's command."""
    # Servers tell of a collector of traces that is away, once; Envoy would with each try.
    levels = ["--log-level", "warning", "--component-log-level", "tracing:critical"]
    return [*levels, *(["--log-format", _JSON_LINE] if as_json else [])]


def open_log(file: Path) -> None:
    """Makes the access log, which Envoy would make as the umask lets it; raises GatewayError."""
    try:
        open_private(file, "ab").close()
    except OSError as error:
        raise GatewayError(f"the access log {file} can't be written: {error.strerror}") from None


def message(lines: Sequence[str]) -> str:
    """Returns what the last of some lines says."""
    if not lines:
        return "it said nothing"
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, TypeError, KeyError):
        return lines[-1]
