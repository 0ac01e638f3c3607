"""CORS: what scripts on pages of other origins may ask and read (the Fetch standard's CORS protocol).

Only the origins of a setting may, letter by letter; all others, and all where there are none, get
answers without the headers, which browsers keep from scripts.
"""

from collections.abc import Sequence
from typing import Any

from gateway import shares

_MAX_AGE_S = 7200
_METHODS = "DELETE, GET, HEAD, PATCH, POST"
# Of REST, gRPC-Web and Connect. Browsers ask for each header that is not on Fetch's own short list.
_REQUEST_HEADERS = (
    "accept, accept-language, authorization, connect-accept-encoding, connect-content-encoding",
    "connect-protocol-version, connect-timeout-ms, content-encoding, content-type, grpc-timeout",
    "idempotency-key, last-event-id, traceparent, tracestate, x-client-request-id, x-goog-api-client",
    "x-grpc-web, x-request-id, x-user-agent",
)
_RESPONSE_HEADERS = (
    "allow, connect-content-encoding, grpc-message, grpc-status, grpc-status-details-bin",
    "retry-after, x-operation-poll-interval, x-request-id",
)
_FILTER = "cors_headers"


def response_filter(origins: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the filter that names the origin on every answer to it, Envoy's own included."""
    if not origins:
        return []
    allowed = f"'origin' in request.headers && request.headers['origin'] in {list(origins)}"
    headers = {
        "access-control-allow-origin": f"%CEL({allowed} ? request.headers['origin'] : '')%",
        "access-control-expose-headers": f"%CEL({allowed} ? '{', '.join(_RESPONSE_HEADERS)}' : '')%",
        # So that no cache gives one origin's answer to another.
        "vary": "origin",
    }
    kind = "header_mutation.v3.HeaderMutation"
    return [
        {
            "name": _FILTER,
            "typed_config": {
                "@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}",
                "mutations": {
                    "response_mutations": [
                        {"append": {"header": {"key": key, "value": value}}}
                        for key, value in headers.items()
                    ]
                },
            },
        }
    ]


def preflights(origins: Sequence[str], filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the route that answers browsers' questions beforehand; other origins' get a 405.

    `filters` turns those off that are for calls.
    """
    if not origins:
        return []
    asked = {"name": "access-control-request-method", "present_match": True}
    headers = {
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": ", ".join(_REQUEST_HEADERS),
        "access-control-max-age": str(_MAX_AGE_S),
    }
    return [
        {
            "name": f"preflight {number}",
            "match": {
                "prefix": "/",
                "headers": [
                    {"name": ":method", "string_match": {"exact": "OPTIONS"}},
                    {"name": "origin", "string_match": {"exact": origin}},
                    asked,
                ],
            },
            "direct_response": {"status": 204},
            "typed_per_filter_config": {**filters, shares.FILTER: shares.ON},
            "metadata": shares.METADATA,
            "response_headers_to_add": [
                {"header": {"key": key, "value": value}} for key, value in headers.items()
            ],
        }
        for number, origin in enumerate(origins, start=1)
    ]
