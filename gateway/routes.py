"""Envoy's routes, made from the annotations: one for each native method and each REST binding.

The first route that fits is used: `route_config` has all of them in order.
"""

from collections.abc import Iterable
from typing import Any

from gateway import cors, known_tokens, shares, web_protocols
from gateway.direct_answers import (
    COMPRESSOR,
    FROM_BROWSERS,
    LOCAL_FILTERS,
    LUA,
    OFF,
    TRANSCODER,
    direct_answer,
    file_answers,
    miscalled,
    root_answers,
    set_header,
)
from gateway.header_filters import REST_HEADERS
from gateway.http_rules import DescriptorSet, Method
from gateway.rest_routes import SECRETS, binding, page_routes, rest_routes, stream
from gateway.route_parts import (
    ANONYMOUS_BYTES,
    ANONYMOUS_STREAMS_CLUSTER,
    BUFFER,
    CLUSTER,
    GRPC_STATUS_OF_ERRORS,
    GRPC_STATUS_OF_SUCCESS,
    IDS_FILTER,
    POLL_INTERVAL,
    READ_RETRY,
    RETRY,
    STREAMS_CLUSTER,
    buffer_of,
    by_credentials,
)
from gateway.settings import GatewaySettings

# google.longrunning.Operations.WaitOperation may hold a call for this long.
WAIT_S = 600
# Any other native call ends after this, whatever deadline it came with.
LONGEST_CALL_S = 120
_REFLECTION_IDLE_S = 30
# What gRPC puts before a message.
_FRAME_BYTES = 5
# Envoy holds static files in memory; the largest is a script of 1.5 MB.
_LARGEST_FILE = 4 << 20
# What every gRPC server offers. The first path that fits is taken: of health, Watch alone is a stream.
_WATCH = "/grpc.health.v1.Health/Watch"
_HEALTH = "/grpc.health.v1.Health/"
STANDARD_PATHS = (
    _WATCH,
    _HEALTH,
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
# The host by which the script in lua/ asks for them.
ENUM_NUMBERS_HOST = "enum-numbers.invalid"
# Routes' names. What the server can unpack.
UNKNOWN_PAGE = "unknown page"
UNKNOWN_COMPRESSION = "unknown-compression"
UNREADABLE_DEADLINE = "unreadable-deadline"
UNKNOWN_VERSION = "unknown-version"
NO_JSON_STREAM = "no-json-stream"
NOT_POST = "not-post"
COMPRESSIONS = ("identity", "deflate", "gzip")
_UNREADABLE = {
    web_protocols.VERSION: (UNKNOWN_VERSION, 400),
    **dict.fromkeys(web_protocols.TIMEOUTS, (UNREADABLE_DEADLINE, 400)),
}
_NATIVE_FILTERS = dict.fromkeys(
    (
        *(BUFFER, COMPRESSOR, LUA, REST_HEADERS, TRANSCODER),
        *(GRPC_STATUS_OF_SUCCESS, GRPC_STATUS_OF_ERRORS, IDS_FILTER),
    ),
    OFF,
)
# Over HTTP/2 some clients take an answer that comes before their request's end for an error.
_ANSWERED_FILTERS = {name: off for name, off in _NATIVE_FILTERS.items() if name != BUFFER}
# Envoy joins the values of two Host headers, which RFC 9112 (section 3.2) has refused.
_TWO_HOSTS = {
    "prefix": "/",
    "headers": [{"name": ":authority", "string_match": {"contains": ","}}],
}
_IF_KEYED = "%CEL('idempotency-key' in request.headers ? '{}' : '')%"
# Of no use to the server, which knows REST callers by x-envoy-original-path.
_ENVOYS_HEADERS = ("x-envoy-external-address", "x-envoy-original-method", "x-forwarded-proto")
# Is for the filter that packs answers.
_PACKING = "accept-encoding"


def route_config(
    descriptors: DescriptorSet, settings: GatewaySettings, enum_numbers: dict[str, Any]
) -> dict[str, Any]:
    """Returns Envoy's RouteConfiguration; the first route that fits is used.

    `enum_numbers` is the transcoder's configuration for callers of JSON who want numbers in the place
    of the names of enumerations; the script in lua/ sends them to the host ENUM_NUMBERS_HOST.
    """
    rest = list(rest_routes(descriptors.methods, settings))
    connect_json = list(_connect_json(descriptors.methods, settings))
    headers = {
        "request_headers_to_add": [
            # Where the call comes from, by the connection or a trusted proxy alone.
            set_header("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            # Without it the server's core ends a call with UNKNOWN.
            set_header("te", "trailers"),
            # A key makes it safe to repeat a change whose outcome is unknown.
            set_header("x-envoy-retry-on", _IF_KEYED.format("reset")),
            set_header("x-envoy-retry-grpc-on", _IF_KEYED.format("unavailable,cancelled")),
        ],
        "request_headers_to_remove": [*_ENVOYS_HEADERS, _PACKING, known_tokens.LINE_HEADER],
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
                    _crowded(),
                    direct_answer("two hosts", _TWO_HOSTS, 400, filters=_NATIVE_FILTERS),
                    *cors.preflights(settings.cors_origins, LOCAL_FILTERS),
                    direct_answer("CONNECT", {"connect_matcher": {}}, 501, filters=_NATIVE_FILTERS),
                    _unreadable(UNKNOWN_COMPRESSION, "grpc-encoding", "|".join(COMPRESSIONS)),
                    _unreadable(UNREADABLE_DEADLINE, "grpc-timeout", "[0-9]{1,8}[HMSmun]"),
                    _unreadable(NOT_POST, ":method", "POST"),
                    *(
                        route
                        for method in descriptors.methods
                        for route in by_credentials(
                            method, _native(method), settings.max_body_bytes + _FRAME_BYTES
                        )
                    ),
                    *(_standard(path) for path in STANDARD_PATHS),
                    direct_answer(
                        "grpc", {"prefix": "/", "grpc": {}}, 404, filters=_NATIVE_FILTERS
                    ),
                    *page_routes(descriptors.methods, settings),
                    *rest,
                    *connect_json,
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
                "routes": [
                    _crowded(),
                    *rest,
                    *connect_json,
                    direct_answer("unknown", {"prefix": "/"}, 404),
                ],
            },
        ],
    }


def _crowded() -> dict[str, Any]:
    """The route of those whom the script of `shares` refuses: by its name they are known in `replies`."""
    crowded = {"name": shares.LINE_HEADER, "string_match": {"exact": shares.CROWDED}}
    match = {"prefix": "/", "headers": [crowded]}
    return direct_answer(shares.CROWDED, match, 429, filters=_NATIVE_FILTERS)


def _unreadable(name: str, header: str, readable: str) -> dict[str, Any]:
    """Refuses native calls with another value of the header.

    The server's core would break off the call, and later ones on the connection. `replies` has the texts.
    """
    others = {
        "name": header,
        "string_match": {"safe_regex": {"regex": readable}},
        "invert_match": True,
    }
    match = {"prefix": "/", "grpc": {}, "headers": [others]}
    return direct_answer(name, match, 400, filters=_NATIVE_FILTERS)


def _native(method: Method) -> dict[str, Any]:
    longest = "0s" if method.streaming else f"{WAIT_S if method.waits else LONGEST_CALL_S}s"
    action: dict[str, Any] = {
        "cluster": STREAMS_CLUSTER if method.streaming else CLUSTER,
        "timeout": "0s",
        "max_stream_duration": {
            "max_stream_duration": longest,
            "grpc_timeout_header_max": longest,
        },
        "retry_policy": READ_RETRY if method.only_reads else RETRY,
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
        route["response_headers_to_add"] = [POLL_INTERVAL]
    if method.path.startswith(SECRETS):
        # For gRPC-Web and Connect. Native callers don't mind it, and where a script has the route looked
        # up again, theirs is what the others have too.
        route["response_headers_to_add"] = [set_header("cache-control", "no-store")]
    return route


def _web(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the routes of gRPC-Web and of Connect in binary, behind those of the callers that are more."""
    for header, headers, on in web_protocols.unreadable():
        name, status = _UNREADABLE.get(header, (UNKNOWN_COMPRESSION, 501))
        match = {"prefix": "/", "headers": headers}
        yield direct_answer(name, match, status, filters={**_ANSWERED_FILTERS, **on})
    for method in methods:
        native = _native(method)
        for headers, on in web_protocols.protocols(streaming=method.streaming):
            route = {
                **native,
                "match": {"path": method.path, "headers": headers},
                "typed_per_filter_config": {**_web_filters(method), **on},
            }
            yield from by_credentials(method, route, settings.max_body_bytes + _FRAME_BYTES)
    yield from miscalled(methods)
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
    headers, on = web_protocols.other_json_streams()
    match = {"prefix": "/", "headers": headers}
    yield direct_answer(NO_JSON_STREAM, match, 415, filters={**_ANSWERED_FILTERS, **on})


def _connect_json(methods: Iterable[Method], settings: GatewaySettings) -> Iterable[dict[str, Any]]:
    """Yields the routes of Connect in JSON, which is transcoded."""
    for method in methods:
        for rule in method.connect_rules:
            route = binding(method, rule, {"path": rule.template}, settings, rule.verb)
            most_bytes = settings.max_body_bytes
            if method.streaming:
                route = stream(route, web_protocols.JSON_STREAM)
                most_bytes += _FRAME_BYTES
            else:
                # Unless its caller has given it another, which the script in lua/ writes there.
                (deadline,) = route["request_headers_to_add"]
                route["request_headers_to_add"] = [{**deadline, "append_action": "ADD_IF_ABSENT"}]
            kind = web_protocols.json_match(streaming=method.streaming)
            route["match"]["headers"].append(kind)
            off = route.get("typed_per_filter_config", {})
            route["typed_per_filter_config"] = {**off, web_protocols.DETAILS: web_protocols.ON}
            yield from by_credentials(method, route, most_bytes)


def _standard(path: str) -> dict[str, Any]:
    """Returns the route of what every gRPC server offers below a path.

    Health/Watch lasts as long as the caller likes, reflection as long as it is asked.
    """
    health = path.startswith(_HEALTH)
    filters = {**_NATIVE_FILTERS, BUFFER: buffer_of(ANONYMOUS_BYTES)} if health else _NATIVE_FILTERS
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
