"""Lines for calls that must not hold up others: those with tokens that the server has not accepted
lately, so that forged ones hold up nobody; and those of callers who send very many."""

from pathlib import Path
from typing import Any

from gateway import input_checks, shares
from gateway.settings import GatewaySettings

_TYPES = "type.googleapis.com/envoy.extensions.filters.http"
# The clusters for them: the same servers.
CLUSTER = "unknown_tokens"
BUSY_CLUSTER = "busy_callers"
# Set by lua/known_tokens.lua, for the routes, to one of the clusters; and by the server where it refuses
# a caller whom it knows.
LINE_HEADER = shares.LINE_HEADER
KNOWN_HEADER = "x-token-known"

FILTER = "known_tokens"
RATE_FILTER = "rate_of_unknown_tokens"
# What a thread remembers, in bytes and seconds.
_MOST_BYTES, _LIFETIME_S = 2 << 20, 300
# Calls with one token in a second that a thread takes for ordinary.
ORDINARY_PER_S = 100
# Requests of one token that are under way, answers that nobody has read among them, for each of Envoy's
# threads. One by REST takes 55 to 100 KB, others 32; over HTTP/1.1 a connection each. Waits and streams are
# counted by themselves: no more of them than a server takes from one caller, who would send what it refuses
# again and again.
MOST_REST, MOST_NATIVE, MOST_LASTING = 250, 800, 500
# What one connection may send at once, and then in a second. A caller with a new token sends as many
# as a connection has streams before the first of them is answered.
_AT_ONCE, _PER_S = 100, 10
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}

# For routes: the filter, which is off elsewhere, and the limit.
ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
# For routes too: which of MOST_… are for it.
NATIVE, LASTING = ({"filter_metadata": {FILTER: {"kind": kind}}} for kind in ("native", "lasting"))
RATE = {
    "@type": f"{_TYPES}.local_ratelimit.v3.LocalRateLimit",
    "stat_prefix": RATE_FILTER,
    "token_bucket": {"max_tokens": _AT_ONCE, "tokens_per_fill": _PER_S, "fill_interval": "1s"},
    "filter_enabled": _ALWAYS,
    "filter_enforced": _ALWAYS,
    "local_rate_limit_per_downstream_connection": True,
    "rate_limited_as_resource_exhausted": True,
}


def filters(root: Path, settings: GatewaySettings) -> list[dict[str, Any]]:
    """Returns the filter that sets LINE_HEADER, and the one that limits calls with unknown tokens."""
    most = f"{{ rest = {MOST_REST}, native = {MOST_NATIVE}, lasting = {MOST_LASTING} }}"
    limits = f"{_MOST_BYTES}, {_LIFETIME_S}, {ORDINARY_PER_S}, {most}"
    script = "\n".join(
        (
            input_checks.package_path(root),
            'local new = require("known_tokens").new',
            f"local enter = {shares.lua_shares(settings)}",
            f"envoy_on_request, envoy_on_response = new({limits}, enter, os.time)",
        )
    )
    return [
        {
            "name": FILTER,
            "disabled": True,
            "typed_config": {
                "@type": f"{_TYPES}.lua.v3.Lua",
                "default_source_code": {"inline_string": script},
            },
        },
        {
            "name": RATE_FILTER,
            "typed_config": {
                "@type": f"{_TYPES}.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": RATE_FILTER,
            },
        },
    ]
