"""What callers read when Envoy itself refuses: `google.rpc.Status` in JSON, or in headers for gRPC.

Under /v1/ the status is in Google's envelope, `{"error": {"code", "message", "status", "details"}}`.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway import known_tokens, pages, shares
from gateway.http_rules import GOOGLE_STYLE
from gateway.route_parts import ANONYMOUS_BYTES
from gateway.routes import (
    COMPRESSIONS,
    NOT_POST,
    UNKNOWN_COMPRESSION,
    UNKNOWN_PAGE,
    UNKNOWN_VERSION,
    UNREADABLE_DEADLINE,
)
from gateway.settings import GatewaySettings

# The domain of every `google.rpc.ErrorInfo`, the same as the server's.
DOMAIN = "billing.example.com"
RETRY_AFTER_S = 1
_TYPE = "type.googleapis.com/google.rpc."

# REST routes are named like `GET /path`. The transcoder has changed their content type by the time
# that an answer is made, so the content type alone does not tell them from native gRPC.
_IS_GRPC = (
    "request.headers['content-type'].matches('^application/grpc([+].*)?$')"
    " && !xds.route_name.contains(' ')"
)
# The lines of those who send very many, where they are full.
_IN_LINE = " || ".join(
    f"xds.cluster_name == '{cluster}'"
    for cluster in (known_tokens.BUSY_CLUSTER, shares.BUSY_CLUSTER)
)
_IS_CROWDED = f"xds.route_name == '{shares.CROWDED}'"
# By the route's name, since the transcoder changes the path; by that where there is no route.
_IS_GOOGLE_STYLE = (
    f"(xds.route_name.contains(' {GOOGLE_STYLE}') || request.path.startsWith('{GOOGLE_STYLE}'))"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of Envoy's for what `when` (CEL) fits: HTTP status, gRPC code, reason and text.

    `native_code` is the code for native gRPC callers, where it is another.
    """

    when: str
    status: int
    code: int
    reason: str
    message: str
    retry: bool = False
    native_code: int | None = None


REPLIES = (
    Reply(
        f"xds.route_name == '{UNKNOWN_COMPRESSION}'",
        *(415, 3, "COMPRESSION_UNSUPPORTED"),
        f"Messages may be compressed by: {', '.join(COMPRESSIONS)}.",
        native_code=12,
    ),
    Reply(
        f"xds.route_name == '{UNREADABLE_DEADLINE}'",
        *(400, 3, "REQUEST_MALFORMED"),
        "grpc-timeout is a number and one of H, M, S, m, u, n; connect-timeout-ms a number.",
    ),
    Reply(
        f"xds.route_name == '{UNKNOWN_VERSION}'",
        *(400, 3, "REQUEST_MALFORMED", "connect-protocol-version is 1, or left out."),
    ),
    Reply(
        f"xds.route_name == '{NOT_POST}'",
        *(405, 12, "METHOD_NOT_ALLOWED", "gRPC's calls are POST, whatever their path."),
    ),
    Reply(
        "response.code == 404",
        *(404, 5, "METHOD_UNKNOWN", "No method has this path."),
        native_code=12,
    ),
    Reply(
        "response.code == 405",
        *(405, 12, "METHOD_NOT_ALLOWED", "The path exists, but not with this HTTP method."),
    ),
    Reply(
        "response.code == 408",
        *(408, 4, "DEADLINE_EXCEEDED", "The request did not arrive whole in time."),
    ),
    Reply(
        "response.code == 413",
        413,
        3,
        "REQUEST_TOO_LARGE",
        f"The request body is too large: as a rule it may have {GatewaySettings.max_body_bytes} bytes, and "
        f"without 'Authorization: Bearer <token>' {ANONYMOUS_BYTES}.",
        native_code=8,
    ),
    Reply(
        "response.code == 415",
        *(415, 3, "CONTENT_TYPE_UNSUPPORTED"),
        "Send application/json or application/proto; to a stream application/connect+proto, to "
        "billing.v1.EventService/WatchEvents application/connect+json too.",
        native_code=12,
    ),
    Reply("response.code == 426", 400, 3, "REQUEST_MALFORMED", "HTTP/1.1 or HTTP/2 is needed."),
    Reply(
        "response.code == 429",
        *(429, 8, "RATE_EXCEEDED", "Too many requests; try again later."),
        retry=True,
    ),
    Reply(
        "response.code == 431", 431, 3, "HEADERS_TOO_LARGE", "The request's headers are too large."
    ),
    Reply(
        "response.code == 501",
        501,
        12,
        "HTTP_UNSUPPORTED",
        "The request needs HTTP that is not supported here.",
    ),
    Reply(
        "response.code == 503",
        *(503, 14, "UNAVAILABLE", "The service is unavailable; try again later."),
        retry=True,
    ),
    Reply(
        "response.code == 504", 504, 4, "DEADLINE_EXCEEDED", "The service did not answer in time."
    ),
    Reply("response.code >= 500", 500, 13, "INTERNAL", "The service failed to answer."),
    # 400 for bad HTTP, 403 for an upgrade to another protocol.
    Reply("response.code >= 400", 400, 3, "REQUEST_MALFORMED", "The request is not valid HTTP."),
)
# The transcoder says what does not fit the message: a wrong type, a bad timestamp.
_MISFIT = Reply(
    "response.code == 400 && response.code_details.contains('grpc_json_transcode_failure')",
    *(400, 3, "REQUEST_MALFORMED", "%LOCAL_REPLY_BODY%"),
)


def local_reply_config(page_folders: Iterable[str] = ()) -> dict[str, Any]:
    """Returns Envoy's LocalReplyConfig; the first mapper that fits is used."""
    return {
        "mappers": [
            *_crowded(),
            *(page for reply in REPLIES for page in _pages(reply, page_folders)),
            # What the Lua filter answers is Status JSON already.
            {
                "filter": _when(f"response.code_details == 'lua_response' && !({_IS_CROWDED})"),
                "headers_to_add": _REQUEST_ID,
                "body_format_override": {
                    **_text("%LOCAL_REPLY_BODY%"),
                    "content_type": "application/json",
                },
            },
            *_json(_MISFIT),
            *(_grpc(reply) for reply in REPLIES),
            _without_body(f"response.code == 503 && ({_IN_LINE})"),
            *(mapper for reply in REPLIES for mapper in _json(reply)),
        ]
    }


def _crowded() -> Iterable[dict[str, Any]]:
    refusal = next(reply for reply in REPLIES if reply.status == 429)
    yield _grpc(replace(refusal, when=_IS_CROWDED))
    yield _without_body(_IS_CROWDED)


def _without_body(when: str) -> dict[str, Any]:
    """Refuses those who send very many: over HTTP/2 a body would wait for who reads none; headers never do."""
    return {
        "filter": _when(f"{when} && request.protocol == 'HTTP/2'"),
        "headers_to_add": [*_REQUEST_ID, _header("retry-after", str(RETRY_AFTER_S))],
        "body_format_override": _text(""),
    }


def _pages(reply: Reply, page_folders: Iterable[str]) -> Iterable[dict[str, Any]]:
    """People read a page, whatever went wrong and wherever: routes are known by the path in their
    name, since the transcoder changes the request's own; before there is a route, by that. So do
    browsers where there is nothing: in part of a link, say."""
    native = (
        "'content-type' in request.headers"
        " && request.headers['content-type'].startsWith('application/grpc')"
    )
    for folder in page_folders:
        yield _page(
            reply,
            f"(xds.route_name.contains(' {folder}')"
            f" || (request.url_path.matches('^{pages.pattern(folder)}$') && !({native})))",
        )
    if reply.status == 404:
        yield _page(reply, f"xds.route_name == '{UNKNOWN_PAGE}'")


def _page(reply: Reply, where: str) -> dict[str, Any]:
    headers = [*_REQUEST_ID, *(_header(key, value) for key, value in pages.HEADERS.items())]
    if reply.retry:
        headers.append(_header("retry-after", str(RETRY_AFTER_S)))
    return {
        "filter": _when(f"{reply.when} && {where}"),
        "status_code": reply.status,
        "headers_to_add": headers,
        "body_format_override": {
            **_text(pages.html(reply.status)),
            "content_type": "text/html; charset=utf-8",
        },
    }


def _grpc(reply: Reply) -> dict[str, Any]:
    """For native callers the text becomes `grpc-message`; Envoy's own code would often be UNKNOWN.

    The details hold what does not differ from call to call: the request's ID stands in the headers.
    """
    code = reply.native_code or reply.code
    status = status_pb2.Status(code=code, message=reply.message)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reply.reason, domain=DOMAIN)]
    if reply.retry:
        delay = duration_pb2.Duration(seconds=RETRY_AFTER_S)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    for detail in details:
        status.details.add().Pack(detail)
    packed = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    return {
        "filter": _when(f"{reply.when} && {_IS_GRPC}"),
        "headers_to_add": [
            *_REQUEST_ID,
            _header("grpc-status", str(code)),
            _header("grpc-status-details-bin", packed),
        ],
        "body_format_override": _text(reply.message),
    }


def _json(reply: Reply) -> Iterable[dict[str, Any]]:
    """Yields the answers for REST, in Google's envelope and as published."""
    details: list[dict[str, Any]] = [
        {"@type": f"{_TYPE}ErrorInfo", "reason": reply.reason, "domain": DOMAIN},
        {"@type": f"{_TYPE}RequestInfo", "requestId": "%RESP(X-REQUEST-ID)%"},
    ]
    headers = list(_REQUEST_ID)
    if reply.retry:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{RETRY_AFTER_S}s"})
        headers.append(_header("retry-after", str(RETRY_AFTER_S)))
    error = {
        "code": reply.status,
        "message": reply.message,
        "status": code_pb2.Code.Name(reply.code),
        "details": details,
    }
    for when, body in (
        (f"{reply.when} && {_IS_GOOGLE_STYLE}", {"error": error}),
        (reply.when, {"code": reply.code, "message": reply.message, "details": details}),
    ):
        yield {
            "filter": _when(when),
            "status_code": reply.status,
            "headers_to_add": headers,
            "body_format_override": {"json_format": body},
        }


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


# A request that could not even be read has no id yet.
_REQUEST_ID = [
    _header("x-request-id", "%UNIQUE_ID%"),
    _header("x-request-id", "%REQ(X-REQUEST-ID)%"),
]


def _text(text: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": text}}


def _when(expression: str) -> dict[str, Any]:
    return {
        "extension_filter": {
            "name": "cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": expression,
            },
        }
    }
