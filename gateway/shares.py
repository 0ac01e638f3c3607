"""Shares of connections and addresses in the lines of strangers: calls without credentials, and calls
with tokens that the server has not accepted lately. What is beyond them stands in a line of its own,
so that who sends very many takes no place from the others; it is answered there as room allows."""

from pathlib import Path
from typing import Any

from gateway import input_checks
from gateway.settings import GatewaySettings

# The line for what is beyond the shares: the same servers.
BUSY_CLUSTER = "busy_strangers"
# The request header by which a route takes its cluster; callers can't send it.
LINE_HEADER = "x-token-line"
FILTER = "shares"
# For routes: the filter, which is off elsewhere.
ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}

# Calls in a second, for each of Envoy's threads.
PER_CONNECTION, PER_ADDRESS = 10, 300


def lua_shares(settings: GatewaySettings) -> str:
    """Returns the Lua expression for the function that says whether a call is within the shares."""
    # Of a proxy's connections each carries many callers.
    per_connection = 0 if settings.trusted_proxies else PER_CONNECTION
    return f'require("shares").new({per_connection}, {PER_ADDRESS}, os.time)'


def line_filter(root: Path, settings: GatewaySettings, ordinary: str) -> dict[str, Any]:
    """Returns the filter that sets LINE_HEADER for calls without credentials, to one of two clusters."""
    script = "\n".join(
        (
            input_checks.package_path(root),
            f"local within = {lua_shares(settings)}",
            "function envoy_on_request(handle)",
            f'  local line = within(handle) and "{ordinary}" or "{BUSY_CLUSTER}"',
            f'  handle:headers():replace("{LINE_HEADER}", line)',
            "  handle:clearRouteCache()",
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
