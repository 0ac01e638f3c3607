"""Envoy's routes, made from the annotations: one for each native method and each REST binding.

Longer than others: the first route that fits is used, so all of them stand in one place, in order.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from gateway import cors, known_tokens, pages, shares, web_protocols
from gateway.direct_answers import (
    FROM_BROWSERS,
    LOCAL_FILTERS,
    LUA,
    OFF,
    TRANSCODER,
    direct_answer,
    file_answers,
    root_answers,
    set_header,
    verb_match,
)
from gateway.header_filters import REST_HEADERS
from gateway.http_rules import DescriptorSet, Method, Rule
from gateway.settings import GatewaySettings

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
_SERVER_SENT = "text/event-stream"
# google.longrunning.Operations.WaitOperation may hold a call for this long.
WAIT_S = 600
# Any other native call ends after this, whatever deadline it came with.
LONGEST_CALL_S = 120
POLL_INTERVAL_S = 1
_REFLECTION_IDLE_S = 30
# What gRPC puts before a message.
_FRAME_BYTES = 5
# Envoy holds static files in memory; the largest is a script of 1.5 MB.
_LARGEST_FILE = 4 << 20
# Far above a form, whose limit the script in lua/ knows: Envoy's limit is one for request and
# answer, and this is above every page.
_PAGE_BYTES = 64 << 10
# The server is told a later time than Envoy's, so that the answer is always Envoy's whole one.
_DEADLINE_MARGIN_S = 0.5
# What every gRPC server offers. The first path that fits is taken: of health, Watch alone is a stream.
_WATCH = "/grpc.health.v1.Health/Watch"
_HEALTH = "/grpc.health.v1.Health/"
STANDARD_PATHS = (
    _WATCH,
    _HEALTH,
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)

# Whose answers hold tokens or secrets, which no cache may keep.
_SECRETS = (
    "/yandex.cloud.iam.v1.IamTokenService/",
    "/billing.v1.InvitationService/CreateInvitationLink",
    "/billing.v1.WebhookService/CreateWebhook",
    "/billing.v1.WebhookService/RotateWebhookSecret",
)

# The host by which the script in lua/ asks for them.
ENUM_NUMBERS_HOST = "enum-numbers.invalid"
# Routes' names. What the server can unpack.
UNKNOWN_PAGE = "unknown page"
UNKNOWN_COMPRESSION = "unknown-compression"
UNREADABLE_DEADLINE = "unreadable-deadline"
COMPRESSIONS = ("identity", "deflate", "gzip")

BUFFER = "envoy.filters.http.buffer"
COMPRESSOR = "envoy.filters.http.compressor"
GRPC_STATUS_OF_SUCCESS = "grpc_status_of_success"
GRPC_STATUS_OF_ERRORS = "grpc_status_of_errors"
IDS_FILTER = "ids_of_calls"


_NATIVE_FILTERS = dict.fromkeys(
    (
        *(BUFFER, COMPRESSOR, LUA, REST_HEADERS, TRANSCODER),
        *(GRPC_STATUS_OF_SUCCESS, GRPC_STATUS_OF_ERRORS, IDS_FILTER),
    ),
    OFF,
)

# Over HTTP/2 some clients take an answer that comes before their request's end for an error.
_ANSWERED_FILTERS = {name: off for name, off in _NATIVE_FILTERS.items() if name != BUFFER}


# While memory is short Envoy cuts the first of these times to seconds, for requests that do not go on.
# Known callers only wait for answers, which have deadlines; but they must read them.
_STALLING = {"idle_timeout": "60s"}
_WAITING = {"idle_timeout": "0s", "flush_timeout": "60s"}


def _buffer(most_bytes: int) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        "buffer": {"max_request_bytes": most_bytes},
    }


# Another endpoint may have a call that never left; one that changes nothing, whenever it fails.
# CANCELLED by the server, not the caller, is what a call meets that comes while one shuts down.
_NEVER_LEFT = "connect-failure,refused-stream,reset-before-request"
_RETRY: dict[str, Any] = {
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
_READ_RETRY = {**_RETRY, "retry_on": f"{_NEVER_LEFT},reset,unavailable,cancelled"}
_IF_KEYED = "%CEL('idempotency-key' in request.headers ? '{}' : '')%"
# Of no use to the server, which knows REST callers by x-envoy-original-path.
_ENVOYS_HEADERS = ("x-envoy-external-address", "x-envoy-original-method", "x-forwarded-proto")


def route_config(
    descriptors: DescriptorSet, settings: GatewaySettings, enum_numbers: dict[str, Any]
) -> dict[str, Any]:
    """Returns Envoy's RouteConfiguration; the first route that fits is used.

    `enum_numbers` is the transcoder's configuration for REST callers who want numbers in the place
    of the names of enumerations; the script in lua/ sends them to the host ENUM_NUMBERS_HOST.
    """
    rest = list(_rest(descriptors.methods, settings))
    headers = {
        "request_headers_to_add": [
            # Where the call comes from, by the connection or a trusted proxy, never by what
            # a caller says.
            set_header("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            # A key makes it safe to repeat a change whose outcome is unknown.
            set_header("x-envoy-retry-on", _IF_KEYED.format("reset")),
            set_header("x-envoy-retry-grpc-on", _IF_KEYED.format("unavailable,cancelled")),
        ],
        "request_headers_to_remove": [*_ENVOYS_HEADERS, known_tokens.LINE_HEADER],
        # Envoy's own setting for it would give an empty one back where it refuses early.
        "response_headers_to_add": [set_header("x-request-id", "%REQ(X-REQUEST-ID)%")],
    }
    return {
        "name": "billing",
        "max_direct_response_body_size_bytes": _LARGEST_FILE,
        "virtual_hosts": [
            {
                "name": "billing",
                "domains": ["*"],
                **headers,
                "routes": [
                    *cors.preflights(settings.cors_origins, LOCAL_FILTERS),
                    direct_answer("CONNECT", {"connect_matcher": {}}, 501, filters=_NATIVE_FILTERS),
                    _unreadable(UNKNOWN_COMPRESSION, "grpc-encoding", "|".join(COMPRESSIONS)),
                    _unreadable(UNREADABLE_DEADLINE, "grpc-timeout", "[0-9]{1,8}[HMSmun]"),
                    *(
                        route
                        for method in descriptors.methods
                        for route in _by_credentials(
                            method, _native(method), settings.max_body_bytes + _FRAME_BYTES
                        )
                    ),
                    *(_standard(path) for path in STANDARD_PATHS),
                    direct_answer(
                        "grpc", {"prefix": "/", "grpc": {}}, 404, filters=_NATIVE_FILTERS
                    ),
                    *_pages(descriptors.methods, settings),
                    *rest,
                    *_web(descriptors.methods, settings),
                    *root_answers(),
                    *(route for file in settings.static_files for route in file_answers(file)),
                    direct_answer(UNKNOWN_PAGE, {"prefix": "/", "headers": [FROM_BROWSERS]}, 404),
                    direct_answer("unknown", {"prefix": "/"}, 404),
                ],
            },
            {
                "name": "enum_numbers",
                "domains": [ENUM_NUMBERS_HOST],
                **headers,
                "typed_per_filter_config": {TRANSCODER: enum_numbers},
                "routes": [*rest, direct_answer("unknown", {"prefix": "/"}, 404)],
            },
        ],
    }


def _unreadable(name: str, header: str, readable: str) -> dict[str, Any]:
    """Refuses native calls with another value of the header.

    The server's core would break the call off, and mistake later calls on the same connection for
    it. What the caller reads is in `replies`, by the route's name.
    """
    others = {
        "name": header,
        "string_match": {"safe_regex": {"regex": readable}},
        "invert_match": True,
    }
    match = {"prefix": "/", "grpc": {}, "headers": [others]}
    return direct_answer(name, match, 400, filters=_NATIVE_FILTERS)


def _by_credentials(
    method: Method, route: dict[str, Any], most_bytes: int
) -> Iterable[dict[str, Any]]:
    """Yields the routes for callers who send what may be a token, in each of the lines, and one for
    those without.

    Each waits for the whole request, of at most `most_bytes` or ANONYMOUS_BYTES.
    """
    filters = dict(route.get("typed_per_filter_config", {}))
    action = route["route"]
    if not method.open_to_all:
        known_filters = {
            **filters,
            BUFFER: _buffer(most_bytes),
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
        filters[BUFFER] = _buffer(ANONYMOUS_BYTES)
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


def _native(method: Method) -> dict[str, Any]:
    longest = "0s" if method.streaming else f"{WAIT_S if method.waits else LONGEST_CALL_S}s"
    action: dict[str, Any] = {
        "cluster": STREAMS_CLUSTER if method.streaming else CLUSTER,
        "timeout": "0s",
        "max_stream_duration": {
            "max_stream_duration": longest,
            "grpc_timeout_header_max": longest,
        },
        "retry_policy": _READ_RETRY if method.only_reads else _RETRY,
    }
    if method.streaming or method.waits:
        # A stream may have nothing to say for long; the server looks at who reads too slowly.
        action["idle_timeout"] = "0s"
    route: dict[str, Any] = {
        "name": method.path,
        "match": {"path": method.path, "grpc": {}},
        "route": action,
        "typed_per_filter_config": _NATIVE_FILTERS,
    }
    if method.is_polled:
        route["response_headers_to_add"] = [_POLL_INTERVAL]
    return route


def _web(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the routes of gRPC-Web and Connect, behind those of the callers that are more."""
    for is_deadline, headers, on in web_protocols.unreadable():
        name = UNREADABLE_DEADLINE if is_deadline else UNKNOWN_COMPRESSION
        match = {"prefix": "/", "headers": headers}
        yield direct_answer(name, match, 400, filters={**_ANSWERED_FILTERS, **on})
    for method in methods:
        native = _native(method)
        for headers, on in web_protocols.protocols(streaming=method.streaming):
            route = {
                **native,
                "match": {"path": method.path, "headers": headers},
                "typed_per_filter_config": {**_web_filters(method), **on},
            }
            yield from _by_credentials(method, route, settings.max_body_bytes + _FRAME_BYTES)
        for rule in method.connect_rules:
            route = _binding(method, rule, {"path": method.path}, settings, rule.verb)
            route["match"]["headers"].append(web_protocols.JSON_MATCH)
            off = route.get("typed_per_filter_config", {})
            route["typed_per_filter_config"] = {**off, web_protocols.DETAILS: web_protocols.ON}
            yield from _by_credentials(method, route, settings.max_body_bytes)
    for headers, on in web_protocols.protocols():
        for path in STANDARD_PATHS:
            standard = _standard(path)
            yield {
                **standard,
                "match": {"prefix": path, "headers": headers},
                "typed_per_filter_config": {**standard["typed_per_filter_config"], **on},
            }
        match = {"prefix": "/", "headers": headers}
        yield direct_answer("grpc", match, 404, filters={**_ANSWERED_FILTERS, **on})


def _standard(path: str) -> dict[str, Any]:
    """Returns the route of what every gRPC server offers below a path.

    Health/Watch lasts as long as the caller likes, reflection as long as it is asked.
    """
    health = path.startswith(_HEALTH)
    filters = {**_NATIVE_FILTERS, BUFFER: _buffer(ANONYMOUS_BYTES)} if health else _NATIVE_FILTERS
    cluster = {"cluster": ANONYMOUS_STREAMS_CLUSTER}
    if path == _HEALTH:
        cluster = {"cluster_header": shares.LINE_HEADER}
        filters = {**filters, shares.FILTER: shares.ON}
    return {
        "name": path,
        "match": {"prefix": path, "grpc": {}},
        "route": {
            **cluster,
            "timeout": "0s",
            "idle_timeout": "0s" if health else f"{_REFLECTION_IDLE_S}s",
        },
        "typed_per_filter_config": filters,
    }


def _web_filters(method: Method) -> dict[str, Any]:
    """Returns what is off: no more than of native calls, but that what comes behind answers is hidden."""
    kept = () if method.streaming else (IDS_FILTER,)
    return {name: off for name, off in _NATIVE_FILTERS.items() if name not in kept}


def _pages(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the routes of pages for browsers, which ask for HEAD too before they open a link."""
    folders: dict[str, list[tuple[Method, Rule]]] = defaultdict(list)
    for method in methods:
        if method.is_page:
            for rule in method.rules:
                folders[rule.folder].append((method, rule))
    for folder, bindings in folders.items():
        match = {"safe_regex": {"regex": pages.pattern(folder)}}
        allowed = ["HEAD"]
        for method, rule in bindings:
            verb = "GET|HEAD" if rule.verb == "GET" else rule.verb
            route = _binding(method, rule, match, settings, verb)
            # The page's form and what a link says stand side by side: their length would tell.
            route["typed_per_filter_config"] = {BUFFER: _buffer(_PAGE_BYTES), COMPRESSOR: OFF}
            route["response_headers_to_add"] = _PAGE_HEADERS
            allowed.append(rule.verb)
            yield from _by_credentials(method, route, settings.max_body_bytes)
        yield direct_answer(
            f"* {bindings[0][1].template}",
            match,
            405,
            headers=[set_header("allow", ", ".join(sorted(allowed))), *_PAGE_HEADERS],
        )


def _rest(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the bindings path by path, each path closed by the answer for other HTTP methods."""
    by_pattern: dict[str, list[tuple[Method, Rule]]] = defaultdict(list)
    for method in methods:
        for rule in method.rest_rules:
            by_pattern[rule.pattern].append((method, rule))
    # What is more exact goes first, as in the transcoder.
    for pattern in sorted(by_pattern, key=lambda pattern: (pattern.count("["), pattern)):
        bindings = by_pattern[pattern]
        rule = bindings[0][1]
        match: dict[str, Any] = (
            {"safe_regex": {"regex": pattern}} if rule.variables else {"path": rule.template}
        )
        for method, rule in bindings:
            route = _binding(method, rule, match, settings, rule.verb)
            for each in _streams(route) if method.streaming else (route,):
                yield from _by_credentials(method, each, settings.max_body_bytes)
        yield direct_answer(
            f"* {rule.template}",
            match,
            405,
            headers=[set_header("allow", ", ".join(sorted(rule.verb for _, rule in bindings)))],
        )


def _streams(route: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the routes of a stream: one for who asks for server-sent events, one for all others.

    Its length is the caller's affair: it has no deadline, and no browser, proxy or cache may keep it.
    """
    action = {
        **route["route"],
        "cluster": STREAMS_CLUSTER,
        "timeout": "0s",
        # The server looks at who reads too slowly.
        "idle_timeout": "0s",
    }
    headers = [set_header("cache-control", "no-store"), set_header("x-accel-buffering", "no")]
    match = route["match"]
    accepts = {
        "name": "accept",
        "string_match": {"contains": _SERVER_SENT, "ignore_case": True},
    }
    for also, sent in (([accepts], _SERVER_SENT), ([], "application/x-ndjson")):
        yield {
            **route,
            "match": {**match, "headers": [*match["headers"], *also]},
            "route": action,
            # One of two, whatever else the caller accepts.
            "request_headers_to_add": [set_header("accept", sent)],
            "response_headers_to_add": headers,
        }


def _binding(
    method: Method, rule: Rule, match: dict[str, Any], settings: GatewaySettings, verbs: str
) -> dict[str, Any]:
    """Returns the route of a REST binding; `verbs` is a regular expression."""
    deadline_s = settings.timeout_s + _DEADLINE_MARGIN_S
    route: dict[str, Any] = {
        "name": rule.name,
        "match": {
            **match,
            "headers": [{"name": ":method", "string_match": verb_match(verbs)}],
        },
        "route": {
            "cluster": CLUSTER,
            "timeout": f"{settings.timeout_s:g}s",
            "retry_policy": _READ_RETRY if method.only_reads else _RETRY,
        },
        # The server gives up when the caller's answer is due.
        "request_headers_to_add": [set_header("grpc-timeout", f"{deadline_s * 1000:.0f}m")],
    }
    if method.is_polled:
        route["response_headers_to_add"] = [_POLL_INTERVAL]
    if method.path.startswith(_SECRETS):
        route["response_headers_to_add"] = [set_header("cache-control", "no-store")]
    if rule.verb == "HEAD":
        # Has the script in lua/ look at a success too, whose body is in no answer.
        route.setdefault("response_headers_to_add", []).append(set_header("x-http-status", "200"))
    if method.streaming or rule.verb == "HEAD" or method.path.startswith(_SECRETS):
        # Each message of a stream must go at once. Of secrets the length could tell, beside what
        # the caller sent.
        route["typed_per_filter_config"] = {COMPRESSOR: OFF}
    if method.streaming:
        route["typed_per_filter_config"][IDS_FILTER] = OFF
    return route


# The server's own pages have a stricter one of each.
_PAGE_HEADERS = [
    {"header": {"key": key, "value": value}, "append_action": "ADD_IF_ABSENT"}
    for key, value in pages.HEADERS.items()
]
# Has the script in lua/ look at the answer.
_UNKNOWN = set_header(known_tokens.LINE_HEADER, known_tokens.CLUSTER)
_UNKNOWN_LINES = {"safe_regex": {"regex": f"{known_tokens.CLUSTER}|{shares.BUSY_CLUSTER}"}}
# The official Go client asks again after as many seconds.
_POLL_INTERVAL = set_header("x-operation-poll-interval", str(POLL_INTERVAL_S))
