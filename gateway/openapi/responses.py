"""The answers that every operation can give beside its own: errors, and headers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_REQUEST_ID = "6c0a2f6e-5d0b-4b6e-9a53-0f1c8a2d7e41"
_TYPE_URL = "type.googleapis.com/google.rpc."

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
}


@dataclass(frozen=True, slots=True)
class _Error:
    """An HTTP status; the rest is its example. `reason` is empty for what Envoy itself refuses."""

    name: str
    description: str
    code: int
    message: str
    reason: str = ""
    details: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry: bool = False


_ERRORS: Mapping[int, _Error] = {
    400: _Error(
        "BadRequest",
        "The request is wrong as it stands, or the state of things forbids it "
        "(INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE).",
        3,
        "The request has fields that are not valid: person.email.",
        "FIELDS_INVALID",
        (
            {
                "@type": _TYPE_URL + "BadRequest",
                "fieldViolations": [
                    {
                        "field": "person.email",
                        "description": "Not an e-mail address: An email address must have an @-sign.",
                    }
                ],
            },
        ),
    ),
    401: _Error(
        "Unauthenticated",
        "There is no token, or it does not hold (UNAUTHENTICATED).",
        16,
        "Send your IAM token as 'Authorization: Bearer <token>'.",
        "CREDENTIALS_MISSING",
    ),
    403: _Error(
        "PermissionDenied",
        "The caller has no role that permits this (PERMISSION_DENIED).",
        7,
        "You have no role that permits this for the reseller; ask its owner for one of the roles "
        "in the error's metadata.",
        "PERMISSION_MISSING",
        metadata={
            "permission": "write",
            "roles": "billing.accounts.admin,billing.accounts.editor,billing.accounts.owner",
        },
    ),
    404: _Error(
        "NotFound",
        "There is no such thing, or no such path (NOT_FOUND).",
        5,
        "There is no such operation; check its ID.",
        "NOT_FOUND",
        (
            {
                "@type": _TYPE_URL + "ResourceInfo",
                "resourceType": "yandex.cloud.operation.Operation",
                "resourceName": "bop0000000000000000",
                "owner": "",
                "description": "There is no such operation; check its ID.",
            },
        ),
    ),
    408: _Error(
        "RequestTimeout",
        "The request did not arrive whole in time (DEADLINE_EXCEEDED).",
        4,
        "The request took too long to arrive.",
    ),
    409: _Error(
        "Conflict",
        "The thing is there already, or another call was faster (ALREADY_EXISTS, ABORTED).",
        6,
        "There is an open invitation for this address and tax number already.",
        "INVITATION_OPEN",
    ),
    413: _Error(
        "TooLarge", "The body is too large (INVALID_ARGUMENT).", 3, "The body is too large."
    ),
    415: _Error(
        "NotJson",
        "The body is not sent as application/json (INVALID_ARGUMENT).",
        3,
        "Send the body as 'Content-Type: application/json'.",
    ),
    429: _Error(
        "TooMany",
        "The caller asks for too much at once (RESOURCE_EXHAUSTED).",
        8,
        "Too many calls; try again later.",
        "RATE_EXCEEDED",
        retry=True,
    ),
    431: _Error(
        "HeadersTooLarge",
        "The headers are too large (INVALID_ARGUMENT).",
        3,
        "The headers are too large.",
    ),
    500: _Error(
        "Internal",
        "Something went wrong in the service (INTERNAL).",
        13,
        "Something went wrong on our side; report the request ID if it persists.",
        "INTERNAL",
    ),
    503: _Error(
        "Unavailable",
        "The service can't be reached just now (UNAVAILABLE).",
        14,
        "The service is not available; try again later.",
        "STORAGE_UNAVAILABLE",
        retry=True,
    ),
    504: _Error(
        "DeadlineExceeded",
        "The time for the call was over (DEADLINE_EXCEEDED).",
        4,
        "The call took too long.",
        "DEADLINE_EXCEEDED",
    ),
}
_ALWAYS = (400, 408, 429, 431, 500, 503, 504)


def statuses(
    *, is_open: bool, secured: bool, in_path: bool, body: bool, changes: bool
) -> list[int]:
    """Returns the HTTP statuses that an operation can fail with.

    `is_open` methods look at no credentials at all; those not `secured` prove an identity
    without needing a token.
    """
    found = set(_ALWAYS)
    found |= set() if is_open else {401}
    found |= {403} if secured else set()
    found |= {404} if in_path else set()
    found |= {409} if changes else set()
    found |= {413, 415} if body else set()
    return sorted(found)


def references(of: Iterable[int]) -> dict[str, Any]:
    """Returns the references to shared responses, by HTTP status."""
    return {
        str(status): {"$ref": f"#/components/responses/{_ERRORS[status].name}"} for status in of
    }


def components(status_schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the shared responses; `status_schema` is that of google.rpc.Status."""
    return {error.name: _response(error, status_schema) for error in _ERRORS.values()}


def headers(*, retry: bool = False) -> dict[str, Any]:
    """Returns the headers of an answer."""
    found = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    if retry:
        found["retry-after"] = {"$ref": "#/components/headers/RetryAfter"}
    return found


def _response(error: _Error, status_schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": error.description,
        "headers": headers(retry=error.retry),
        "content": {
            "application/json": {"schema": status_schema, "example": _example(error)},
        },
    }


def _example(error: _Error) -> dict[str, Any]:
    details = list(error.details)
    if error.reason:
        info = {"reason": error.reason, "domain": "billing", "metadata": error.metadata}
        details.insert(0, {"@type": _TYPE_URL + "ErrorInfo"} | info)
    if error.retry:
        details.append({"@type": _TYPE_URL + "RetryInfo", "retryDelay": "1s"})
    details.append(
        {"@type": _TYPE_URL + "RequestInfo", "requestId": _REQUEST_ID, "servingData": ""}
    )
    return {"code": error.code, "message": error.message, "details": details}
