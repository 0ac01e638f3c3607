"""gRPC-Web and Connect, by which browsers call gRPC methods; Envoy's own filters turn both into gRPC.

The specifications: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md and
https://connectrpc.com/docs/protocol. Connect's JSON is read by the transcoder: see `routes`.
"""

import re
from pathlib import Path
from typing import Any

from gateway import input_checks
from gateway.header_filters import http_filter

GRPC_WEB = "envoy.filters.http.grpc_web"
CONNECT = "envoy.filters.http.connect_grpc_bridge"
ERRORS = "web_errors"
# Notes an error's details, before the transcoder takes them away, for the script.
DETAILS = "connect_details"
JSON_STREAM = "application/connect+json"

_GRPC_WEB_TYPES = r"application/grpc-web(-text)?(\+proto)?"
_UNARY, _STREAM = "application/proto", "application/connect+proto"
_POST = {"name": ":method", "string_match": {"exact": "POST"}}
# Turns a filter on that is off elsewhere.
ON = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
VERSION = "connect-protocol-version"
TIMEOUTS = ("grpc-timeout", "connect-timeout-ms")
# What the server's core, and Envoy's filters before it, can read in headers of both protocols.
_READABLE = {
    VERSION: "1",
    "grpc-timeout": "[0-9]{1,8}[HMSmun]",
    "connect-timeout-ms": "[0-9]{1,10}",
    "grpc-encoding": "identity|deflate|gzip",
    "content-encoding": "identity|deflate|gzip",
    "connect-content-encoding": "identity|deflate|gzip",
}


def filters(root: Path) -> list[dict[str, Any]]:
    """Returns the filters of both protocols, off but for routes that turn them on."""
    script = "\n".join(
        (
            input_checks.package_path(root),
            'local errors = require("web_errors")',
            "envoy_on_request, envoy_on_response = errors.on_request, errors.on_response",
        )
    )
    made = [
        http_filter(
            *(ERRORS, "lua.v3.Lua"),
            {
                # Another route would be found once the protocol's filter has changed the headers.
                "clear_route_cache": False,
                "default_source_code": {"inline_string": script},
            },
        ),
        http_filter(GRPC_WEB, "grpc_web.v3.GrpcWeb", {}),
        http_filter(CONNECT, "connect_grpc_bridge.v3.FilterConfig", {}),
    ]
    return [{**each, "disabled": True} for each in made]


def details_filter() -> dict[str, Any]:
    """Returns the filter DETAILS, off but for routes that turn it on; it stands behind the transcoder."""
    noted = {"metadata_namespace": ERRORS, "key": "details", "type": "STRING"}
    config = {"response_rules": [{"header": "grpc-status-details-bin", "on_header_present": noted}]}
    return {**http_filter(DETAILS, "header_to_metadata.v3.Config", config), "disabled": True}


def protocols(
    *, streaming: bool | None = None
) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Returns, for gRPC-Web and for Connect, the headers that a request has and the filters to turn on.

    Connect has content types of its own for streams; None stands for both.
    """
    web = {"safe_regex": {"regex": _GRPC_WEB_TYPES}}
    unary = [{"name": "content-type", "string_match": {"exact": _UNARY}}]
    stream = [{"name": "content-type", "string_match": {"exact": _STREAM}}]
    connect = [
        matched for kind, matched in ((False, unary), (True, stream)) if streaming in (kind, None)
    ]
    connect_filters = {CONNECT: ON, ERRORS: ON}
    return [
        ([_POST, {"name": "content-type", "string_match": web}], {GRPC_WEB: ON, ERRORS: ON}),
        *(([_POST, *matched], connect_filters) for matched in connect),
    ]


def json_match(*, streaming: bool) -> dict[str, Any]:
    """Returns the header that a request of Connect in JSON has."""
    kind = re.escape(JSON_STREAM if streaming else "application/json")
    regex = f"(?i){kind}( *;.*)?"
    return {"name": "content-type", "string_match": {"safe_regex": {"regex": regex}}}


def other_json_streams() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns, for streams in JSON that nothing serves, the headers and the filters to turn on."""
    return [_POST, json_match(streaming=True)], {CONNECT: ON, ERRORS: ON}


def unreadable() -> list[tuple[str, list[dict[str, Any]], dict[str, Any]]]:
    """Returns what no server may see: the name of the header, the request's headers and the filters.

    The server's core would break the call off, and later calls of all callers with it; a version is
    nothing that it knows of.
    """
    return [
        (
            header,
            [
                *matched,
                {
                    "name": header,
                    "string_match": {"safe_regex": {"regex": readable}},
                    "invert_match": True,
                },
            ],
            on,
        )
        for header, readable in _READABLE.items()
        for matched, on in protocols()
    ]
