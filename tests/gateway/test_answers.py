"""What the upstream answers, as REST callers see it; and what they see when it does not answer."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.status import check_headers, check_refusal, details
from tests.gateway.upstream import Answer, Context

pytestmark = pytest.mark.asyncio(loop_scope="session")

GET = "/yandex.cloud.operation.OperationService/Get"
INVITE = "/yandex.cloud.billing.v1.CustomerService/Invite"

# HTTP status by gRPC code, as the contract has it.
STATUSES = {
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}


def failing(
    code: int,
    *packed: Any,
    metadata: tuple[tuple[str, str], ...] = (),
    message: str = 'No, "нет"\n',
) -> Answer:
    """Returns an answer that is this status, with details."""
    status = status_pb2.Status(code=code, message=message)
    for detail in packed:
        if not isinstance(detail, any_pb2.Any):
            any_ = any_pb2.Any()
            any_.Pack(detail)
            detail = any_
        status.details.append(detail)
    (by_number,) = (one for one in grpc.StatusCode if one.value[0] == code)

    async def answer(_request: Any, context: Context) -> None:
        trailing = (("grpc-status-details-bin", status.SerializeToString()), *metadata)
        await context.abort(by_number, message, trailing)

    return answer


async def hang(_request: Any, _context: Context) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
async def test_every_code_has_its_http_status(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int, status: int
) -> None:
    harness.upstream.answers[GET] = failing(
        code, error_details_pb2.ErrorInfo(reason="WHY", domain="billing.example.com")
    )
    response = await rest.get("/operations/a")
    assert response.status_code == status
    check_headers(response.headers)
    assert "x-operation-poll-interval" not in response.headers
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (body["code"], body["message"]) == (code, 'No, "нет"\n')
    assert details(body)["ErrorInfo"]["reason"] == "WHY"


async def test_every_standard_detail_is_printed_as_json(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    sent = [
        error_details_pb2.ErrorInfo(reason="R", domain="billing.example.com", metadata={"a": "b"}),
        error_details_pb2.RetryInfo(),
        error_details_pb2.DebugInfo(detail="d"),
        error_details_pb2.QuotaFailure(violations=[{"subject": "s"}]),
        error_details_pb2.PreconditionFailure(violations=[{"type": "t"}]),
        error_details_pb2.BadRequest(field_violations=[{"field": "person.email"}]),
        error_details_pb2.RequestInfo(request_id="i"),
        error_details_pb2.ResourceInfo(resource_name="n"),
        error_details_pb2.Help(links=[{"url": "u"}]),
        error_details_pb2.LocalizedMessage(locale="ru"),
    ]
    harness.upstream.answers[GET] = failing(3, *sent)
    found = details((await rest.get("/operations/a")).json())
    assert list(found) == [type(detail).__name__ for detail in sent]
    assert found["BadRequest"]["fieldViolations"][0]["field"] == "person.email"


async def test_a_detail_of_an_unknown_type(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """Code and text survive; the transcoder alone would answer without a body."""
    unknown = any_pb2.Any(type_url="type.googleapis.com/some.Other", value=b"x")
    harness.upstream.answers[GET] = failing(5, unknown)
    response = await rest.get("/operations/a")
    assert response.status_code == 404
    check_headers(response.headers)
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (body["code"], body["message"]) == (5, 'No, "нет"\n')


@pytest.mark.parametrize(("code", "status"), [(8, 429), (14, 503)])
async def test_retry_after_of_the_server(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int, status: int
) -> None:
    harness.upstream.answers[INVITE] = failing(code, metadata=(("retry-after", "7"),))
    response = await rest.post("/billing/v1/customers:invite", json={})
    assert (response.status_code, response.headers["retry-after"]) == (status, "7")


async def test_an_answer_that_can_not_be_printed(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def unknown_type(_request: Any, _context: Context) -> Any:
        operation = harness.upstream.message("yandex.cloud.operation.Operation")()
        operation.metadata.type_url = "type.googleapis.com/some.Other"
        return operation

    harness.upstream.answers[GET] = unknown_type
    response = await rest.get("/operations/a")
    check_refusal(response, 500, 13, "INTERNAL")
    assert "some.Other" not in response.text


async def test_an_operation_is_printed_whole(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    async def answer(_request: Any, _context: Context) -> Any:
        operation = harness.upstream.message("yandex.cloud.operation.Operation")(id="a")
        operation.created_at.FromJsonString("2026-01-02T03:04:05Z")
        metadata = harness.upstream.message("yandex.cloud.billing.v1.CustomerMetadata")
        operation.metadata.Pack(metadata(reseller_id="r"))
        return operation

    harness.upstream.answers[GET] = answer
    response = await rest.get("/operations/a")
    assert response.headers["x-operation-poll-interval"] == "1"
    assert response.json() == {
        "id": "a",
        "description": "",
        "createdAt": "2026-01-02T03:04:05Z",
        "createdBy": "",
        "done": False,
        "metadata": {
            "@type": "type.googleapis.com/yandex.cloud.billing.v1.CustomerMetadata",
            "resellerId": "r",
            "customerId": "",
        },
    }


async def test_a_slow_server_is_given_up_at_the_time_limit(tmp_path: Path) -> None:
    stopped = asyncio.Event()

    async def slow(_request: Any, _context: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with (
        running(tmp_path, timeout_s=0.5) as harness,
        httpx.AsyncClient(base_url=harness.rest, timeout=10) as rest,
    ):
        harness.upstream.answers[GET] = slow
        check_refusal(await rest.get("/operations/a"), 504, 4, "DEADLINE_EXCEEDED")
        async with asyncio.timeout(30):
            await stopped.wait()


async def test_a_call_is_cancelled_when_its_caller_leaves(harness: GatewayHarness) -> None:
    """The server hears of it, so that it can stop."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def slow(_request: Any, _context: Context) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    harness.upstream.answers[GET] = slow
    _, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
    writer.write(b"GET /operations/a HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(harness.settings.timeout_s / 2):
        await begun.wait()
        writer.close()
        await stopped.wait()


async def test_a_dead_server_is_unavailable(tmp_path: Path) -> None:
    async with running(tmp_path) as harness, httpx.AsyncClient(base_url=harness.rest) as rest:
        await harness.upstream.stop()
        found = check_refusal(await rest.get("/operations/a"), 503, 14, "UNAVAILABLE")
        assert found["RetryInfo"]["retryDelay"] == "1s"
        refused = await rest.post("/billing/v1/customers:invite", json={})
        check_refusal(refused, 503, 14, "UNAVAILABLE")
        # What Envoy answers by itself needs no server.
        check_refusal(await rest.get("/nothing"), 404, 5, "METHOD_UNKNOWN")
