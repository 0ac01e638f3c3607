"""The answers that every operation can give beside its own: errors, and headers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.rpc import code_pb2

from gateway.openapi import examples
from gateway.replies import DOMAIN, REPLIES

_REQUEST_ID = "6c0a2f6e-5d0b-4b6e-9a53-0f1c8a2d7e41"
_TYPE_URL = "type.googleapis.com/google.rpc."
ENVELOPE = "ErrorResponse"
# What the names of shared responses in Google's envelope begin with.
_GOOGLES = "Google"

HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "ID of the request: the caller's own `x-request-id`, or a new one.",
        "schema": {"type": "string"},
        "example": _REQUEST_ID,
    },
    "RetryAfter": {
        "description": "Seconds to wait before the same call may succeed.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "PollInterval": {
        "description": "Seconds to wait before asking for the operation again.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
}


@dataclass(frozen=True, slots=True)
class _Error:
    """An HTTP status, and an example of it; `retry` if it says when to try again."""

    name: str
    description: str
    code: int
    reason: str
    message: str
    details: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry: bool = False


def _refused(status: int, name: str, description: str) -> _Error:
    """Returns what Envoy itself answers with."""
    found = next(reply for reply in REPLIES if reply.status == status)
    return _Error(name, description, found.code, found.reason, found.message, retry=found.retry)


_ERRORS: Mapping[int, _Error] = {
    400: _Error(
        "BadRequest",
        "The request is wrong as it stands, or the state of things forbids it "
        "(INVALID_ARGUMENT, FAILED_PRECONDITION).",
        3,
        "FIELDS_INVALID",
        "The request has fields that are not valid. person.phone: Not a telephone number; write it "
        "like +7 495 123-45-67.",
        (
            {
                "@type": _TYPE_URL + "BadRequest",
                "fieldViolations": [
                    {
                        "field": "person.phone",
                        "description": "Not a telephone number; write it like +7 495 123-45-67.",
                        "reason": "",
                    }
                ],
            },
        ),
    ),
    401: _Error(
        "Unauthenticated",
        "There is no token, or it does not hold (UNAUTHENTICATED).",
        16,
        "CREDENTIALS_MISSING",
        "Send your IAM token as 'Authorization: Bearer <token>'.",
    ),
    403: _Error(
        "PermissionDenied",
        "The caller has no role that permits this (PERMISSION_DENIED).",
        7,
        "PERMISSION_MISSING",
        "You have no role that permits this for the reseller; ask its owner for one of the roles "
        "in the error's metadata.",
        metadata={
            "permission": "write",
            "roles": "billing.accounts.admin,billing.accounts.editor,billing.accounts.owner",
        },
    ),
    404: _Error(
        "NotFound",
        "There is no such thing (NOT_FOUND).",
        5,
        "NOT_FOUND",
        "There is no such operation; check its ID.",
        (
            {
                "@type": _TYPE_URL + "ResourceInfo",
                "resourceType": "yandex.cloud.operation.Operation",
                "resourceName": examples.OPERATION,
                "owner": "",
                "description": "There is no such operation; check its ID.",
            },
        ),
    ),
    408: _refused(408, "RequestTimeout", "The request did not arrive in time (DEADLINE_EXCEEDED)."),
    409: _Error(
        "Conflict",
        "The thing is there already, or another call came in between (ALREADY_EXISTS, ABORTED).",
        6,
        "INVITATION_OPEN",
        "You have an open invitation for the same address and tax number already; the error's "
        "metadata names it.",
        metadata={
            "operationId": examples.OPERATION,
            "customerId": examples.CUSTOMER,
            "invitationId": "inv0r6t2y8u4i1o7p3a9",
        },
    ),
    413: _refused(413, "TooLarge", "The body is too large (INVALID_ARGUMENT)."),
    415: _Error(
        "NotJson",
        "The body is not sent as plain application/json (INVALID_ARGUMENT).",
        3,
        "CONTENT_TYPE_UNSUPPORTED",
        "Send the body as JSON, with Content-Type: application/json.",
    ),
    429: _refused(429, "TooMany", "The caller asks for too much at once (RESOURCE_EXHAUSTED)."),
    431: _refused(431, "HeadersTooLarge", "The headers are too large (INVALID_ARGUMENT)."),
    500: _refused(500, "Internal", "Something went wrong in the service (INTERNAL)."),
    503: _refused(503, "Unavailable", "The service can't be reached just now (UNAVAILABLE)."),
    504: _refused(504, "DeadlineExceeded", "The time for the call was over (DEADLINE_EXCEEDED)."),
}
_ALWAYS = (400, 408, 429, 431, 500, 503, 504)


def statuses(
    *, secured: bool, wrong_proof: Iterable[int], in_path: bool, body: bool, changes: bool
) -> list[int]:
    """Returns the HTTP statuses that an operation can fail with.

    Those `secured` need a token; `wrong_proof` is what those answer that need another proof.
    """
    found = set(_ALWAYS)
    found |= {401, 403} if secured else set()
    found |= set(wrong_proof)
    found |= {404} if in_path else set()
    found |= {409} if changes else set()
    found |= {413, 415} if body else set()
    return sorted(found)


def references(of: Iterable[int], *, in_envelope: bool) -> dict[str, Any]:
    """Returns the references to shared responses, by HTTP status."""
    prefix = _GOOGLES if in_envelope else ""
    return {
        str(status): {"$ref": f"#/components/responses/{prefix}{_ERRORS[status].name}"}
        for status in of
    }


def envelope(status: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of Google's envelope (AIP-193); `status` is that of google.rpc.Status."""
    return {
        "type": "object",
        "description": "An error as Google's APIs answer it (AIP-193).",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "message": status["properties"]["message"],
                    "status": {
                        "type": "string",
                        "description": "The name of the gRPC code.",
                        "enum": [name for name, code in code_pb2.Code.items() if code],
                    },
                    "details": status["properties"]["details"],
                },
                "required": ["code", "message", "status", "details"],
            }
        },
        "required": ["error"],
    }


def components() -> dict[str, Any]:
    """Returns the shared responses, each as published and in Google's envelope."""
    return {
        prefix + error.name: _response(status, error, in_envelope=bool(prefix))
        for prefix in ("", _GOOGLES)
        for status, error in _ERRORS.items()
    }


def headers(*, retry: bool = False, polled: bool = False) -> dict[str, Any]:
    """Returns the headers of an answer; `polled` if it is an operation to ask for again."""
    found = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    if polled:
        found["x-operation-poll-interval"] = {"$ref": "#/components/headers/PollInterval"}
    if retry:
        found["retry-after"] = {"$ref": "#/components/headers/RetryAfter"}
    return found


def _response(status: int, error: _Error, *, in_envelope: bool) -> dict[str, Any]:
    example = _example(error)
    if in_envelope:
        name = code_pb2.Code.Name(error.code)
        example = {
            "error": {"code": status, "message": error.message, "status": name}
            | {"details": example["details"]}
        }
    schema = ENVELOPE if in_envelope else "google.rpc.Status"
    return {
        "description": error.description,
        "headers": headers(retry=error.retry),
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{schema}"},
                "example": example,
            },
        },
    }


def _example(error: _Error) -> dict[str, Any]:
    info = {"reason": error.reason, "domain": DOMAIN, "metadata": error.metadata}
    details = [{"@type": _TYPE_URL + "ErrorInfo"} | info, *error.details]
    if error.retry:
        details.append({"@type": _TYPE_URL + "RetryInfo", "retryDelay": "1s"})
    details.append(
        {"@type": _TYPE_URL + "RequestInfo", "requestId": _REQUEST_ID, "servingData": ""}
    )
    return {"code": error.code, "message": error.message, "details": details}
