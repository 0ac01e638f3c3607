"""Envoy's own messages: from warnings on, as text or as JSON, a line each, like those of servers."""

import json
from collections.abc import Sequence

# %j is the message as JSON escapes it.
_JSON_LINE = (
    '{"at": "%Y-%m-%dT%H:%M:%S.%e%z", "level": "%l", "logger": "envoy.%n", "message": "%j"}'
)


def log_options(*, as_json: bool) -> list[str]:
    """Returns the options of Envoy's command."""
    return ["--log-level", "warning", *(["--log-format", _JSON_LINE] if as_json else [])]


def message(lines: Sequence[str]) -> str:
    """Returns what the last of some lines says."""
    if not lines:
        return "it said nothing"
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, TypeError, KeyError):
        return lines[-1]
