"""What every refusal over REST has in common."""

from typing import Any

import httpx
from google.rpc import code_pb2

_TYPE = "type.googleapis.com/google.rpc."


def details(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the details of a `google.rpc.Status` in JSON, by short type name."""
    return {detail["@type"].removeprefix(_TYPE): detail for detail in body["details"]}


def bare_status(response: httpx.Response) -> dict[str, Any]:
    """Returns the `google.rpc.Status` of an error, out of Google's envelope where it must be in one."""
    body = response.json()
    if response.request.url.path.startswith("/v1/"):
        assert body.keys() == {"error"}
        body = body["error"]
        assert body.keys() == {"code", "message", "status", "details"}
        assert body["code"] == response.status_code
        body["code"] = code_pb2.Code.Value(body.pop("status"))
    assert body.keys() == {"code", "message", "details"}
    return dict(body)


def check_headers(headers: httpx.Headers) -> None:
    """No answer shows gRPC's headers or Envoy's, and each has an id."""
    shown = [
        name
        for name in headers
        if name.startswith(("grpc-", "x-envoy-")) or name.endswith("-bin") or name == "server"
    ]
    assert shown == []
    assert headers["x-request-id"]


def check_refusal(
    response: httpx.Response, status: int, code: int, reason: str
) -> dict[str, dict[str, Any]]:
    """Asserts the contract's form of an error that the gateway made; returns its details."""
    assert response.status_code == status, response.text
    check_headers(response.headers)
    assert response.headers["content-type"] == "application/json"
    body = bare_status(response)
    assert body["code"] == code
    assert body["message"]
    found = details(body)
    assert found["ErrorInfo"]["reason"] == reason
    assert found["ErrorInfo"]["domain"] == "billing.example.com"
    assert found["RequestInfo"]["requestId"] == response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in {429, 503})
    return found


def violations(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Returns the wrong fields of a `BadRequest` with what is said of each."""
    return {
        wrong["field"]: wrong["description"] for wrong in found["BadRequest"]["fieldViolations"]
    }
