"""What callers read when Envoy itself refuses: `google.rpc.Status` in JSON, plain text for gRPC."""

from dataclasses import dataclass
from typing import Any

# The domain of every `google.rpc.ErrorInfo`, the same as the server's.
DOMAIN = "billing"
RETRY_AFTER_S = 1
_TYPE = "type.googleapis.com/google.rpc."

# REST routes are named like `GET /path`. The transcoder has changed their content type by the time
# that an answer is made, so the content type alone does not tell them from native gRPC.
_IS_GRPC = (
    "request.headers['content-type'].startsWith('application/grpc')"
    " && !xds.route_name.contains(' ')"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer for one HTTP status of Envoy's. `status` is what callers get instead, if not 0."""

    on: int
    code: int
    reason: str
    message: str
    status: int = 0
    retry: bool = False


REPLIES = (
    Reply(400, 3, "REQUEST_MALFORMED", "The request is not valid HTTP."),
    Reply(404, 5, "METHOD_UNKNOWN", "No method has this path."),
    Reply(405, 12, "METHOD_NOT_ALLOWED", "The path exists, but not with this HTTP method."),
    Reply(408, 4, "DEADLINE_EXCEEDED", "The request did not arrive whole in time."),
    Reply(413, 3, "REQUEST_TOO_LARGE", "The request body is too large."),
    Reply(426, 3, "REQUEST_MALFORMED", "HTTP/1.1 or HTTP/2 is needed.", status=400),
    Reply(429, 8, "RATE_EXCEEDED", "Too many requests; try again later.", retry=True),
    Reply(431, 3, "HEADERS_TOO_LARGE", "The request's headers are too large."),
    Reply(501, 12, "METHOD_UNKNOWN", "The request needs an HTTP feature that is not supported."),
    Reply(503, 14, "UNAVAILABLE", "The service is unavailable; try again later.", retry=True),
    Reply(504, 4, "DEADLINE_EXCEEDED", "The service did not answer in time."),
)
_ELSE = Reply(500, 13, "INTERNAL", "The service failed to answer.", status=500)


def local_reply_config() -> dict[str, Any]:
    """Returns Envoy's LocalReplyConfig; the first mapper that fits is used."""
    return {
        "mappers": [
            # What the Lua filter answers is Status JSON already.
            {
                "filter": _when("response.code_details == 'lua_response'"),
                "body_format_override": {
                    **_text("%LOCAL_REPLY_BODY%"),
                    "content_type": "application/json",
                },
            },
            # The transcoder says what does not fit the message: a wrong type, a bad timestamp.
            _json(
                "response.code_details.startsWith('grpc_json_transcode_failure')",
                Reply(400, 3, "REQUEST_MALFORMED", "%LOCAL_REPLY_BODY%", status=400),
            ),
            *(_grpc(f"response.code == {reply.on}", reply) for reply in REPLIES),
            _grpc("response.code >= 400", _ELSE),
            *(_json(f"response.code == {reply.on}", reply) for reply in REPLIES),
            _json("response.code >= 400", _ELSE),
        ]
    }


def _grpc(when: str, reply: Reply) -> dict[str, Any]:
    """For native callers the text becomes `grpc-message`; Envoy makes the code."""
    return {
        "filter": _when(f"{when} && {_IS_GRPC}"),
        "body_format_override": _text(reply.message),
    }


def _json(when: str, reply: Reply) -> dict[str, Any]:
    details: list[dict[str, Any]] = [
        {"@type": f"{_TYPE}ErrorInfo", "reason": reply.reason, "domain": DOMAIN},
        {"@type": f"{_TYPE}RequestInfo", "requestId": "%REQ(X-REQUEST-ID)%"},
    ]
    mapper: dict[str, Any] = {
        "filter": _when(when),
        "body_format_override": {
            "json_format": {"code": reply.code, "message": reply.message, "details": details}
        },
    }
    if reply.status:
        mapper["status_code"] = reply.status
    if reply.retry:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{RETRY_AFTER_S}s"})
        mapper["headers_to_add"] = [
            {
                "header": {"key": "retry-after", "value": str(RETRY_AFTER_S)},
                "append_action": "ADD_IF_ABSENT",
            }
        ]
    return mapper


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
