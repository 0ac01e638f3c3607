"""Shares of connections and addresses in the calls of strangers.

Strangers' calls are those without credentials, and with tokens that the server has not accepted lately.
What is beyond a share stands in a line of its own and is answered as room allows, so that a caller who
sends very many takes no place from the others.

Each request under way takes Envoy some 50 KB, whether it waits for the server or its answer for a
reader. So an address has a share of these too, and is refused beyond it.
"""

from pathlib import Path
from typing import Any

from gateway import input_checks
from gateway.settings import GatewaySettings

# The line for what is beyond the shares: the same servers.
BUSY_CLUSTER = "busy_strangers"
# The name of the refusal, and of its route.
CROWDED = "crowded"
# The request header by which a route takes its cluster; callers can't send it.
LINE_HEADER = "x-token-line"
FILTER = "shares"
# For routes: the filter, which is off elsewhere.
ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}

_ANSWERED = "answered"
# For routes that Envoy answers itself, which have no line.
METADATA = {"filter_metadata": {FILTER: {_ANSWERED: True}}}

# Calls in a second, for each of Envoy's threads.
PER_CONNECTION, PER_ADDRESS = 10, 300
# Requests of one address that are under way, for each of Envoy's threads.
MOST_OPEN = 300


def lua_shares(settings: GatewaySettings) -> str:
    """Returns the Lua expression for the function that has a stranger's call stand in a line, or refuses it."""
    # Of a proxy's connections each carries many callers.
    per_connection = 0 if settings.trusted_proxies else PER_CONNECTION
    return f'require("shares").new({per_connection}, {PER_ADDRESS}, {MOST_OPEN}, os.time)'


def line_filter(root: Path, settings: GatewaySettings, ordinary: str) -> dict[str, Any]:
    """Returns the filter that sets LINE_HEADER for calls without credentials: to one of two clusters, or
    to CROWDED."""
    script = "\n".join(
        (
            input_checks.package_path(root),
            f"local enter = {lua_shares(settings)}",
            "function envoy_on_request(handle)",
            f'  local is_answered = handle:metadata():get("{_ANSWERED}")',
            f'  enter(handle, not is_answered and "{ordinary}")',
            "end",
        )
    )
    return {
        "name": FILTER,
        "disabled": True,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    }
