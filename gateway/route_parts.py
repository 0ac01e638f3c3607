"""What routes have in common: clusters, filters, retries, and a route for each line of callers."""

from collections.abc import Iterable
from typing import Any

from gateway import known_tokens, shares
from gateway.direct_answers import TRANSCODER, set_header
from gateway.http_rules import Method

CLUSTER = "billing"
# The same servers, for calls without credentials.
ANONYMOUS_CLUSTER = "anonymous"
# And for streams, which last for as long as their callers like; those of strangers by themselves.
STREAMS_CLUSTER = "streams"
ANONYMOUS_STREAMS_CLUSTER = "anonymous_streams"
# What looks like a token; the server says whether it is one.
_AUTHORIZATION = "(?i)bearer +[^ ].*"
# Of a request without it: the largest is a service account's signed one for a token.
ANONYMOUS_BYTES = 16 << 10
POLL_INTERVAL_S = 1

BUFFER = "envoy.filters.http.buffer"
GRPC_STATUS_OF_SUCCESS = "grpc_status_of_success"
GRPC_STATUS_OF_ERRORS = "grpc_status_of_errors"
IDS_FILTER = "ids_of_calls"

# While memory is short Envoy cuts the first of these times to seconds, for requests that do not go on.
# Known callers only wait for answers, which have deadlines; but they must read them.
_STALLING = {"idle_timeout": "60s"}
_WAITING = {"idle_timeout": "0s", "flush_timeout": "60s"}


def buffer_of(most_bytes: int) -> dict[str, Any]:
    """Returns the setting of a route that has requests of at most so many bytes waited for whole."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        "buffer": {"max_request_bytes": most_bytes},
    }


# Another endpoint may have a call that never left; one that changes nothing, whenever it fails.
# CANCELLED by the server, not the caller, is what a call meets that comes while one shuts down.
_NEVER_LEFT = "connect-failure,refused-stream,reset-before-request"
RETRY: dict[str, Any] = {
    "retry_on": _NEVER_LEFT,
    "num_retries": 2,
    "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    "retry_host_predicate": [
        {
            "name": "previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    # Drawn anew while it is one that has failed; with few draws it would often be the same again.
    "host_selection_retry_max_attempts": 20,
}
READ_RETRY = {**RETRY, "retry_on": f"{_NEVER_LEFT},reset,unavailable,cancelled"}


def by_credentials(
    method: Method, route: dict[str, Any], most_bytes: int
) -> Iterable[dict[str, Any]]:
    """Yields the routes for callers who send what may be a token, in each of the lines, and one for
    those without.

    Each waits for the whole request, of at most `most_bytes` or ANONYMOUS_BYTES.
    """
    filters = dict(route.get("typed_per_filter_config", {}))
    action = route["route"]
    if not method.open_to_all:
        if method.streaming or method.waits:
            route = {**route, "metadata": known_tokens.LASTING}
        elif TRANSCODER in filters:
            route = {**route, "metadata": known_tokens.NATIVE}
        known_filters = {
            **filters,
            BUFFER: buffer_of(most_bytes),
            known_tokens.FILTER: known_tokens.ON,
        }
        yield {
            **_matching(route, known_tokens.LINE_HEADER, _UNKNOWN_LINES),
            # A stream would keep its place in that line for as long as it is open.
            "route": action if method.streaming else {**_STALLING, **_by_line(action)},
            "response_headers_to_add": [
                *route.get("response_headers_to_add", ()),
                _UNKNOWN,
            ],
            "typed_per_filter_config": {
                **known_filters,
                known_tokens.RATE_FILTER: known_tokens.RATE,
            },
        }
        if not (method.streaming or method.waits):
            # Those would keep their places in it; the servers bound how many one caller has.
            yield {
                **_matching(route, known_tokens.LINE_HEADER, {"exact": known_tokens.BUSY_CLUSTER}),
                "route": {**action, **_WAITING, "cluster": known_tokens.BUSY_CLUSTER},
                "typed_per_filter_config": known_filters,
            }
        yield {
            **_matching(route, "authorization", {"safe_regex": {"regex": _AUTHORIZATION}}),
            "route": {**action, **_WAITING},
            "typed_per_filter_config": known_filters,
        }
    if not method.is_page:
        filters[BUFFER] = buffer_of(ANONYMOUS_BYTES)
    yield {
        **route,
        "route": {**_STALLING, **_by_line(action)},
        "typed_per_filter_config": {**filters, shares.FILTER: shares.ON},
    }


def _by_line(action: dict[str, Any]) -> dict[str, Any]:
    """Returns the action with the cluster that the line's header names."""
    rest = {key: value for key, value in action.items() if key != "cluster"}
    return {"cluster_header": shares.LINE_HEADER, **rest}


def _matching(route: dict[str, Any], header: str, value: dict[str, Any]) -> dict[str, Any]:
    """Returns the route for requests that have also a header with this value."""
    match = route["match"]
    also = {"name": header, "string_match": value}
    return {**route, "match": {**match, "headers": [*match.get("headers", ()), also]}}


# Has the script in lua/ look at the answer.
_UNKNOWN = set_header(known_tokens.LINE_HEADER, known_tokens.CLUSTER)
_UNKNOWN_LINES = {"safe_regex": {"regex": f"{known_tokens.CLUSTER}|{shares.BUSY_CLUSTER}"}}
# The official Go client asks again after as many seconds.
POLL_INTERVAL = set_header("x-operation-poll-interval", str(POLL_INTERVAL_S))
