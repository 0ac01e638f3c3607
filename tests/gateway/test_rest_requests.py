"""Paths, verbs and headers that REST callers may send, and how the rest is refused."""

from typing import NamedTuple

import httpx
import pytest

from tests.gateway.conftest import MAX_BODY_BYTES, GatewayHarness
from tests.gateway.status import check_headers, check_refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


INVITE = "/billing/v1/customers:invite"
CUSTOMERS = "/billing/v1/customers"
JSON = {"content-type": "application/json"}


class Refused(NamedTuple):
    """A request and the answer to it."""

    verb: str
    path: str
    status: int
    code: int
    reason: str
    content: bytes = b""
    headers: dict[str, str] = JSON


REFUSED = {
    "unknown path": Refused("GET", "/nothing", 404, 5, "METHOD_UNKNOWN"),
    "trailing slash": Refused("GET", "/operations/a/", 404, 5, "METHOD_UNKNOWN"),
    "double slash": Refused("GET", "//operations/a", 404, 5, "METHOD_UNKNOWN"),
    "no id": Refused("GET", "/operations/", 404, 5, "METHOD_UNKNOWN"),
    "no id before a verb": Refused("GET", "/operations/:cancel", 404, 5, "METHOD_UNKNOWN"),
    "unknown verb": Refused("POST", "/operations/a:frob", 404, 5, "METHOD_UNKNOWN"),
    "verb twice": Refused("POST", "/operations/a:cancel:cancel", 404, 5, "METHOD_UNKNOWN"),
    "encoded slash": Refused("GET", "/operations/a%2Fb", 404, 5, "METHOD_UNKNOWN"),
    "encoded slash, lower case": Refused("GET", "/operations/a%2fb", 404, 5, "METHOD_UNKNOWN"),
    "a path in another case": Refused("GET", "/Operations/a", 404, 5, "METHOD_UNKNOWN"),
    "wrong method": Refused("PUT", INVITE, 405, 12, "METHOD_NOT_ALLOWED", b"{}"),
    "wrong method, no body": Refused("DELETE", "/operations/a", 405, 12, "METHOD_NOT_ALLOWED"),
    "options": Refused("OPTIONS", INVITE, 405, 12, "METHOD_NOT_ALLOWED"),
    "form": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"name=x"),
        {"content-type": "application/x-www-form-urlencoded"},
    ),
    "text": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"), {"content-type": "text/plain"}
    ),
    "no content type": Refused("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}", {}),
    "other charset": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        {"content-type": "application/json; charset=cp1251"},
    ),
    "other content type with a known beginning": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        {"content-type": "application/jsonx"},
    ),
    "compressed": Refused(
        *("POST", INVITE, 415, 3, "CONTENT_TYPE_UNSUPPORTED", b"{}"),
        JSON | {"content-encoding": "gzip"},
    ),
    "too large": Refused("POST", INVITE, 413, 3, "REQUEST_TOO_LARGE", b" " * (MAX_BODY_BYTES + 1)),
    "headers too large": Refused(
        "GET", "/operations/a", 431, 3, "HEADERS_TOO_LARGE", b"", {"x-large": "a" * (33 << 10)}
    ),
    "too many headers": Refused(
        *("GET", "/operations/a", 431, 3, "HEADERS_TOO_LARGE", b""),
        {f"x-header-{number}": "a" for number in range(101)},
    ),
    "body where none belongs": Refused("GET", "/operations/a", 400, 3, "REQUEST_MALFORMED", b"{}"),
    "path not UTF-8": Refused("GET", "/operations/%ff", 400, 3, "REQUEST_MALFORMED"),
    "path with half an escape": Refused("GET", "/operations/a%4", 400, 3, "REQUEST_MALFORMED"),
    "overlong UTF-8": Refused("GET", "/operations/%c0%af", 400, 3, "REQUEST_MALFORMED"),
    "surrogate in UTF-8": Refused("GET", "/operations/%ed%a0%80", 400, 3, "REQUEST_MALFORMED"),
    "query name not UTF-8": Refused("GET", f"{CUSTOMERS}?%ff=1", 400, 3, "REQUEST_MALFORMED"),
    "query with half an escape": Refused("GET", f"{CUSTOMERS}?a%=1", 400, 3, "REQUEST_MALFORMED"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_bad_requests_are_refused_in_our_form(
    harness: GatewayHarness, rest: httpx.AsyncClient, case: Refused
) -> None:
    response = await rest.request(
        case.verb, case.path, content=case.content or None, headers=case.headers
    )
    check_refusal(response, case.status, case.code, case.reason)
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("path", "method", "field", "value"),
    [
        ("/operations/x%3Acancel", "OperationService/Get", "operation_id", "x:cancel"),
        ("/operations/%D1%8F%20+", "OperationService/Get", "operation_id", "я +"),
        ("/operations/x:cancel", "OperationService/Cancel", "operation_id", "x"),
        ("/v1/operations/a/b", "Operations/GetOperation", "name", "operations/a/b"),
        ("/v1/operations", "Operations/ListOperations", "name", "operations"),
        ("/endpoints/iam", "ApiEndpointService/Get", "api_endpoint_id", "iam"),
    ],
)
async def test_path_variables_are_decoded(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str, method: str, field: str, value: str
) -> None:
    assert (await rest.get(path)).status_code == 200
    (call,) = harness.upstream.calls
    assert call.method.endswith(f".{method}")
    assert getattr(call.request, field) == value


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_an_operation_is_cancelled_by_either_verb(
    harness: GatewayHarness, rest: httpx.AsyncClient, verb: str
) -> None:
    assert (await rest.request(verb, "/operations/a:cancel")).status_code == 200
    assert harness.upstream.calls[0].request.operation_id == "a"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (INVITE, "POST"),
        ("/operations/a", "GET, HEAD"),
        ("/operations/a:cancel", "GET, HEAD, POST"),
        ("/v1/operations/a", "DELETE, GET, HEAD"),
        ("/docs", "GET, HEAD"),
    ],
)
async def test_other_verbs_are_told_which_are_allowed(
    rest: httpx.AsyncClient, path: str, allowed: str
) -> None:
    response = await rest.patch(path)
    check_refusal(response, 405, 12, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == allowed


async def test_the_refusal_of_head_has_no_body(rest: httpx.AsyncClient) -> None:
    response = await rest.head(INVITE)
    assert response.status_code == 405
    assert response.content == b""
    check_headers(response.headers)


async def test_headers_that_could_steer_the_gateway_are_dropped(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """gRPC's and Envoy's own headers stop at the gateway; the contract's go through unchanged."""
    sent = {
        "authorization": "Bearer t.o-k",
        "idempotency-key": "6f8c0a52-3a7e-4d8b-9c1e-2b5d7f9a0c14",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-client-request-id": "mine",
        "accept-language": "ru",
    }
    response = await rest.post(
        INVITE,
        json={},
        headers=sent
        | {
            "x-request-id": "own-id.1",
            "grpc-timeout": "nonsense",
            "grpc-encoding": "no-compression-that-there-is",
            "grpc-status": "5",
            "trace-bin": "!!!",
            "x-envoy-upstream-rq-timeout-ms": "1",
            "x-envoy-original-path": "/operations/x",
            "x-forwarded-host": "elsewhere",
            "x-forwarded-for": "192.0.2.1",
            "cookie": "a=b",
        },
    )
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == "own-id.1"
    (call,) = harness.upstream.calls
    # By the path the server knows REST, by the address whom to count calls without identity for.
    assert call.metadata == sent | {
        "accept": "*/*",
        "x-request-id": "own-id.1",
        "x-envoy-original-path": INVITE,
        "x-forwarded-for": "127.0.0.1",
    }
    assert call.remaining_s is not None
    assert 0 < call.remaining_s <= harness.settings.timeout_s + 1


@pytest.mark.parametrize("wild", ['"<script>', "a b", "x" * 129, ""])
async def test_wild_request_ids_are_replaced(
    harness: GatewayHarness, rest: httpx.AsyncClient, wild: str
) -> None:
    response = await rest.get("/operations/a", headers={"x-request-id": wild})
    assert response.headers["x-request-id"] not in {wild, ""}
    assert harness.upstream.calls[0].metadata["x-request-id"] == response.headers["x-request-id"]


async def test_what_envoy_refuses_unseen_has_a_request_id(rest: httpx.AsyncClient) -> None:
    response = await rest.request("QUERY", "/operations/a", headers={"x-request-id": ""})
    check_refusal(response, 400, 3, "REQUEST_MALFORMED")
