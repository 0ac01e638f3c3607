"""Connect in JSON, which the gateway transcodes as it does REST."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from google.rpc import error_details_pb2

from tests.gateway.conftest import TOKEN, GatewayHarness
from tests.gateway.test_answers import STATUSES, failing
from tests.gateway.test_web_protocols import (
    CODES,
    DESCRIBED,
    GET,
    INFO,
    JSON,
    MESSAGE,
    detail,
    named,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAIT = "/google.longrunning.Operations/WaitOperation"
CALLED_AS_JSON = [
    method.path for method in DESCRIBED if method.connect_rules and not method.streaming
]


def wrong_fields(error: Any) -> list[str]:
    """Returns the fields that an error in Connect's JSON names."""
    value = error["details"][1]["value"]
    found = error_details_pb2.BadRequest.FromString(
        base64.b64decode(value + "=" * (-len(value) % 4))
    )
    return [each.field for each in found.field_violations]


@pytest.mark.parametrize("method", CALLED_AS_JSON)
async def test_every_method_is_called_by_connect_in_json(
    harness: GatewayHarness, rest: httpx.AsyncClient, method: str
) -> None:
    answer = await rest.post(method, headers=JSON, content="{}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert isinstance(answer.json(), dict)
    assert [call.method for call in harness.upstream.calls] == [method]


async def test_connect_in_json_carries_messages_both_ways(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    await named(harness)
    answer = await rest.post(GET, headers=JSON, json={"operationId": "я/b"})
    assert answer.json()["id"] == "я"
    (call,) = harness.upstream.calls
    assert call.request.operation_id == "я/b"
    assert call.metadata["authorization"] == TOKEN["authorization"]


@pytest.mark.parametrize(("code", "http"), STATUSES.items())
async def test_errors_of_connect_in_json_have_details(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int, http: int
) -> None:
    violation = error_details_pb2.BadRequest(field_violations=[{"field": "a" * 5000}])
    harness.upstream.answers[GET] = failing(code, INFO, violation, message=MESSAGE)
    answer = await rest.post(GET, headers=JSON, content="{}")
    body = answer.json()
    assert (answer.status_code, body["code"], body["message"]) == (http, CODES[code], MESSAGE)
    first, second = body["details"]
    assert detail(first) == INFO
    assert second["type"] == "google.rpc.BadRequest"
    value = base64.b64decode(second["value"] + "=" * (-len(second["value"]) % 4))
    assert error_details_pb2.BadRequest.FromString(value) == violation


async def test_the_gateways_refusals_of_connect_in_json(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    content = json.dumps({'opera"tionя': "a", "operationId": 5})
    answer = await rest.post(GET, headers=JSON, content=content)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (400, "invalid_argument")
    assert detail(body["details"][0]).reason == "FIELDS_INVALID"
    assert wrong_fields(body) == ['opera"tionя', "operationId"]
    for sent, status, code, why in (
        ({"content": "{"}, 400, "invalid_argument", "REQUEST_MALFORMED"),
        ({"content": '{"operationId": "\\ud800"}'}, 400, "invalid_argument", "REQUEST_MALFORMED"),
    ):
        answer = await rest.post(GET, headers=JSON, **sent)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert detail(answer.json()["details"][0]).reason == why
    for encoding in ("br", "gzip"):
        packed = await rest.post(GET, headers={**JSON, "content-encoding": encoding}, content="{}")
        error = packed.json()
        assert (packed.status_code, error["code"]) == (501, "unimplemented")
        assert detail(error["details"][0]).reason == "COMPRESSION_UNSUPPORTED"
        assert "identity" in error["message"]
    assert harness.upstream.calls == []


async def test_wrong_fields_that_are_too_many_to_pass_on_are_all_told(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    names = [f'{number}"' + "я" * 40 for number in range(40)]
    answer = await rest.post(GET, headers=JSON, content=json.dumps(dict.fromkeys(names, 1)))
    assert wrong_fields(answer.json()) == names
    assert harness.upstream.calls == []


async def test_headers_of_grpc_do_not_pass_beside_json(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    bad = {"grpc-timeout": "nonsense", "grpc-encoding": "br"}
    answer = await rest.post(GET, headers={**JSON, **bad}, content="{}")
    assert answer.status_code == 200
    assert not {"grpc-timeout", "grpc-encoding"} & {*harness.upstream.calls[0].metadata}


@pytest.mark.parametrize(
    ("written", "longest_s"),
    [(None, 15.5), ("9000", 9.5), ("0009000", 9.5), ("15000", 15.5), ("9999999999", 15.5)],
)
async def test_connect_in_json_passes_deadlines_on(
    harness: GatewayHarness, rest: httpx.AsyncClient, written: str | None, longest_s: float
) -> None:
    """To the server a little later: what the caller gets is the gateway's answer."""
    more = {"connect-timeout-ms": written} if written else {}
    answer = await rest.post(GET, headers=JSON | more, content="{}")
    assert answer.status_code == 200, answer.text
    (call,) = harness.upstream.calls
    assert call.remaining_s is not None
    assert longest_s - 4 < call.remaining_s <= longest_s


@pytest.mark.parametrize(("written", "longest_s"), [(None, 15.0), ("9000", 9.0)])
async def test_the_server_answers_a_wait_before_the_gateway_ends_it(
    harness: GatewayHarness, rest: httpx.AsyncClient, written: str | None, longest_s: float
) -> None:
    """With the operation as it is by then: later it would be DEADLINE_EXCEEDED."""
    more = {"connect-timeout-ms": written} if written else {}
    answer = await rest.post(WAIT, headers=JSON | more, json={"name": "operations/a"})
    assert answer.status_code == 200, answer.text
    (call,) = harness.upstream.calls
    assert call.remaining_s is not None
    assert longest_s - 4 < call.remaining_s <= longest_s


@pytest.mark.parametrize("written", ["0", "1", "200"])
async def test_connect_in_json_ends_in_time(
    harness: GatewayHarness, rest: httpx.AsyncClient, written: str
) -> None:
    async def never(_request: Any, _context: Any) -> None:
        await asyncio.Event().wait()

    harness.upstream.answers[GET] = never
    answer = await rest.post(GET, headers=JSON | {"connect-timeout-ms": written}, content="{}")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (504, "deadline_exceeded")
    assert detail(body["details"][0]).reason == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    "written", ["nonsense", "-1", "1.5", "1e3", "0x10", "12345678901", "5000m", "5 0"]
)
async def test_deadlines_of_connect_in_json_that_are_none(
    harness: GatewayHarness, rest: httpx.AsyncClient, written: str
) -> None:
    more = {"connect-timeout-ms": written}
    answer = await rest.post(GET, headers=JSON | more, content="{}")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (400, "invalid_argument")
    assert detail(body["details"][0]).reason == "REQUEST_MALFORMED"
    assert "connect-timeout-ms" in body["message"]
    assert harness.upstream.calls == []


async def test_connect_in_json_knows_one_version(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    answer = await rest.post(GET, headers=JSON | {"connect-protocol-version": "2"}, content="{}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert harness.upstream.calls == []


async def test_connect_in_json_has_enumerations_as_numbers_where_asked(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    method = "/billing.v1.InvitationService/ListInvitations"

    async def pending(_request: Any, _context: Any) -> Any:
        return harness.upstream.message("billing.v1.ListInvitationsResponse")(
            invitations=[{"state": 1}]
        )

    harness.upstream.answers[method] = pending
    for query, state in (("", "PENDING"), ("?$alt=json;enum-encoding=int", 1)):
        answer = await rest.post(method + query, headers=JSON, content="{}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["invitations"][0]["state"] == state
    harness.upstream.answers[method] = failing(5, INFO)
    answer = await rest.post(method + query, headers=JSON, content="{}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
