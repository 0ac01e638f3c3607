"""Errors in Google's envelope (AIP-193) under /v1/, whoever answers, and nowhere else."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.api_core import exceptions
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2

from tests.gateway.conftest import MAX_BODY_BYTES, TOKEN, GatewayHarness, running
from tests.gateway.status import check_headers, check_refusal, details
from tests.gateway.test_answers import STATUSES, failing

pytestmark = pytest.mark.asyncio(loop_scope="session")

GET = "/google.longrunning.Operations/GetOperation"
LIST = "/google.longrunning.Operations/ListOperations"
ACCEPT = "/v1/invitations:accept"
INFO = error_details_pb2.ErrorInfo(reason="WHY", domain="billing.example.com", metadata={"a": "b"})
# What a text may hold that looks like a part of the envelope.
MESSAGE = 'No, ","details":[ \\","status":"OK"}} "нет"\n'


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
async def test_the_servers_errors(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int, status: int
) -> None:
    harness.upstream.answers[GET] = failing(code, INFO, message=MESSAGE)
    response = await rest.get("/v1/operations/a")
    assert response.status_code == status
    check_headers(response.headers)
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.json() == {
        "error": {
            "code": status,
            "message": MESSAGE,
            "status": code_pb2.Code.Name(code),
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "WHY",
                    "domain": "billing.example.com",
                    "metadata": {"a": "b"},
                }
            ],
        }
    }


async def test_a_detail_of_an_unknown_type(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    unknown = any_pb2.Any(type_url="type.googleapis.com/some.Other", value=b"x")
    harness.upstream.answers[GET] = failing(5, unknown, message=MESSAGE)
    error = (await rest.get("/v1/operations/a")).json()["error"]
    assert (error["code"], error["status"], error["message"]) == (404, "NOT_FOUND", MESSAGE)


async def test_the_envelope_keeps_the_other_headers(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    harness.upstream.answers[GET] = failing(14, INFO, metadata=(("retry-after", "7"),))
    response = await rest.get("/v1/operations/a")
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")


@pytest.mark.parametrize(
    ("verb", "path", "sent", "status", "code", "reason"),
    [
        ("GET", "/v1/nothing", {}, 404, 5, "METHOD_UNKNOWN"),
        ("GET", "/v1/", {}, 404, 5, "METHOD_UNKNOWN"),
        ("GET", "/v1/operations/a%2Fb", {}, 404, 5, "METHOD_UNKNOWN"),
        ("PATCH", "/v1/operations/a", {}, 405, 12, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/operations/a?nmae=b", {}, 400, 3, "FIELDS_INVALID"),
        ("GET", "/v1/operations/%ff", {}, 400, 3, "REQUEST_MALFORMED"),
        ("POST", ACCEPT, {"content": "{"}, 400, 3, "REQUEST_MALFORMED"),
        ("POST", ACCEPT, {"json": {"tokne": ""}}, 400, 3, "FIELDS_INVALID"),
        ("POST", ACCEPT, {"data": {"token": "a"}}, 415, 3, "CONTENT_TYPE_UNSUPPORTED"),
        ("GET", "/v1/operations", {"headers": {"x": "y" * 40_000}}, 431, 3, "HEADERS_TOO_LARGE"),
    ],
)
async def test_the_gateways_own_refusals(
    rest: httpx.AsyncClient,
    verb: str,
    path: str,
    sent: dict[str, Any],
    status: int,
    code: int,
    reason: str,
) -> None:
    if "content" in sent:
        sent = {**sent, "headers": {"content-type": "application/json"}}
    check_refusal(await rest.request(verb, path, **sent), status, code, reason)


async def test_a_body_that_is_too_large(harness: GatewayHarness) -> None:
    async with httpx.AsyncClient(base_url=harness.rest, headers=TOKEN) as rest:
        response = await rest.post(ACCEPT, json={"token": "x" * MAX_BODY_BYTES})
    check_refusal(response, 413, 3, "REQUEST_TOO_LARGE")


async def test_what_the_transcoder_refuses(rest: httpx.AsyncClient) -> None:
    response = await rest.post("/v1/resellers/a/customers:invite", json={"reminderDays": ["1e1"]})
    check_refusal(response, 400, 3, "REQUEST_MALFORMED")
    assert "1e1" in response.json()["error"]["message"]


async def test_an_answer_that_can_not_be_printed(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def unknown_type(_request: Any, _context: Any) -> Any:
        operation = harness.upstream.message("google.longrunning.Operation")()
        operation.metadata.type_url = "type.googleapis.com/some.Other"
        return operation

    harness.upstream.answers[GET] = unknown_type
    check_refusal(await rest.get("/v1/operations/a"), 500, 13, "INTERNAL")


async def test_overload_and_a_server_that_is_away(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_s=1) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=10, headers=TOKEN) as rest,
    ):
        await harness.upstream.stop()
        answers = await asyncio.gather(*(rest.get("/v1/operations/a") for _ in range(10)))
    by_status = {answer.status_code: answer for answer in answers}
    check_refusal(by_status.pop(503), 503, 14, "UNAVAILABLE")
    check_refusal(by_status.pop(429), 429, 8, "RATE_EXCEEDED")
    assert by_status == {}


async def test_successes_are_untouched(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    """Also those that hold an error: an operation that failed."""

    async def failed(_request: Any, _context: Any) -> Any:
        operation = harness.upstream.message("google.longrunning.Operation")(name="a", done=True)
        operation.error.code = 5
        return operation

    harness.upstream.answers[GET] = failed
    response = await rest.get("/v1/operations/a")
    assert response.json() == {
        "name": "a",
        "done": True,
        "error": {"code": 5, "message": "", "details": []},
    }


@pytest.mark.parametrize(
    "path", ["/operations/a", "/billing/v1/customers", "/iam/v1/x", "/v1", "/v12/"]
)
async def test_other_paths_answer_with_the_bare_status(rest: httpx.AsyncClient, path: str) -> None:
    response = await rest.put(path)
    assert response.status_code in (404, 405)
    assert response.json().keys() == {"code", "message", "details"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (3, exceptions.BadRequest),
        (5, exceptions.NotFound),
        (6, exceptions.Conflict),
        (7, exceptions.Forbidden),
        (8, exceptions.TooManyRequests),
        (14, exceptions.ServiceUnavailable),
        (16, exceptions.Unauthorized),
    ],
)
async def test_googles_clients_read_what_went_wrong(
    harness: GatewayHarness,
    rest: httpx.AsyncClient,
    code: int,
    kind: type[exceptions.GoogleAPICallError],
) -> None:
    violation = error_details_pb2.BadRequest(field_violations=[{"field": "person.email"}])
    harness.upstream.answers[GET] = failing(code, INFO, violation, message="Not so.")
    response = await rest.get("/v1/operations/a")
    raised = exceptions.format_http_response_error(
        response, "GET", str(response.url), json.loads(response.content)
    )
    assert isinstance(raised, kind)
    assert raised.message.endswith(": Not so.")
    assert (raised.reason, raised.domain, raised.metadata) == (
        "WHY",
        "billing.example.com",
        {"a": "b"},
    )
    found = details({"details": raised.details})
    assert found["BadRequest"]["fieldViolations"][0]["field"] == "person.email"
