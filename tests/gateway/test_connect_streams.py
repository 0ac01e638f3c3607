"""Streams of Connect in JSON, frame by frame as the specification has them."""

import base64
import json
from typing import Any

import httpx
import pytest
from google.rpc import error_details_pb2

from tests.gateway.conftest import GatewayHarness
from tests.gateway.test_answers import STATUSES, failing
from tests.gateway.test_web_protocols import (
    BARE_INFO,
    CODES,
    INFO,
    JSON,
    MESSAGE,
    REFLECT,
    WATCH,
    detail,
    framed,
    frames,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

JSON_STREAM = {"content-type": "application/connect+json", "connect-protocol-version": "1"}
# The stream, and the method of the server that sends it as bytes.
EVENTS = "/billing.v1.EventService/WatchEvents"
SENDER = "/billing.v1.EventStreamService/WatchEvents"
ASKED = framed(b"{}")


def last_error(body: bytes) -> dict[str, Any]:
    """Returns the error of a stream that is its last frame alone."""
    ((flag, end),) = frames(body)
    assert flag == 2
    error: dict[str, Any] = json.loads(end)["error"]
    return error


async def asked(rest: httpx.AsyncClient, content: bytes, **more: str) -> dict[str, Any]:
    answer = await rest.post(EVENTS, headers=JSON_STREAM | more, content=content)
    kind = answer.headers["content-type"]
    assert (answer.status_code, kind) == (200, JSON_STREAM["content-type"])
    return last_error(answer.content)


async def test_the_servers_frames_pass_as_they_are(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    sent = framed(b'{"position":"a"}') + framed("{}я".encode(), 2)

    async def answer(_request: Any, _context: Any) -> Any:
        body = harness.upstream.message("google.api.HttpBody")
        return body(content_type=JSON_STREAM["content-type"], data=sent)

    harness.upstream.answers[SENDER] = answer
    content = framed(json.dumps({"parent": "я", "after": "b"}).encode())
    kind = "Application/Connect+JSON; charset=utf-8"
    got = await rest.post(EVENTS, headers=JSON_STREAM | {"content-type": kind}, content=content)
    assert (got.status_code, got.content) == (200, sent)
    assert got.headers["content-type"] == JSON_STREAM["content-type"]
    assert got.headers["cache-control"] == "no-store"
    (call,) = harness.upstream.calls
    assert (call.method, call.request.parent, call.request.after) == (SENDER, "я", "b")
    assert call.metadata["accept"] == JSON_STREAM["content-type"]
    assert call.remaining_s is None


@pytest.mark.parametrize("code", STATUSES)
async def test_an_error_is_the_only_frame(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int
) -> None:
    harness.upstream.answers[SENDER] = failing(code, INFO, message=MESSAGE)
    error = await asked(rest, ASKED)
    assert (error["code"], error["message"]) == (CODES[code], MESSAGE)
    assert detail(error["details"][0]) == INFO


async def test_an_error_without_details_has_its_code_for_a_reason(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """As the server's core answers a deadline that has passed."""
    harness.upstream.answers[SENDER] = failing(4, message="Deadline Exceeded")
    (info,) = (await asked(rest, ASKED))["details"]
    assert detail(info) == BARE_INFO


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "invalid_argument", "REQUEST_MALFORMED"),
        (b"{}", "invalid_argument", "REQUEST_MALFORMED"),
        (ASKED[:-1], "invalid_argument", "REQUEST_MALFORMED"),
        (ASKED * 2, "invalid_argument", "REQUEST_MALFORMED"),
        (framed(b"{}", 2), "invalid_argument", "REQUEST_MALFORMED"),
        (framed(b"{}", 128), "invalid_argument", "REQUEST_MALFORMED"),
        (framed(b"{"), "invalid_argument", "REQUEST_MALFORMED"),
        (framed(b'{"parent":"\xff"}'), "invalid_argument", "REQUEST_MALFORMED"),
        (framed(b"\x1f\x8b", 1), "unimplemented", "COMPRESSION_UNSUPPORTED"),
        (framed(b'{"parents":""}'), "invalid_argument", "FIELDS_INVALID"),
    ],
)
async def test_what_is_no_request_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, content: bytes, code: str, reason: str
) -> None:
    error = await asked(rest, content)
    assert (error["code"], detail(error["details"][0]).reason) == (code, reason)
    assert harness.upstream.calls == []


async def test_a_field_that_is_wrong_is_named(rest: httpx.AsyncClient) -> None:
    error = await asked(rest, framed('{"filtre":"","я":1}'.encode()))
    value = error["details"][1]["value"]
    found = error_details_pb2.BadRequest.FromString(
        base64.b64decode(value + "=" * (-len(value) % 4))
    )
    assert [each.field for each in found.field_violations] == ["filtre", "я"]


async def test_headers_that_would_break_the_servers_connection_do_not_pass(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    bad = {"grpc-timeout": "nonsense", "grpc-encoding": "br"}
    harness.upstream.answers[SENDER] = failing(5, INFO)
    assert (await asked(rest, ASKED, **bad))["code"] == "not_found"
    assert not {"grpc-timeout", "grpc-encoding"} & {*harness.upstream.calls[0].metadata}


@pytest.mark.parametrize(("written", "most_s"), [("5000", 5), ("9999999999", 99_999.999)])
async def test_the_server_is_told_the_deadline(
    harness: GatewayHarness, rest: httpx.AsyncClient, written: str, most_s: float
) -> None:
    harness.upstream.answers[SENDER] = failing(4, INFO)
    error = await asked(rest, ASKED, **{"connect-timeout-ms": written})
    assert error["code"] == "deadline_exceeded"
    (call,) = harness.upstream.calls
    assert call.remaining_s is not None
    assert most_s - 5 < call.remaining_s <= most_s


async def test_a_deadline_that_is_none_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    error = await asked(rest, ASKED, **{"connect-timeout-ms": "nonsense"})
    assert (error["code"], detail(error["details"][0]).reason) == (
        *("invalid_argument", "REQUEST_MALFORMED"),
    )
    assert harness.upstream.calls == []


async def test_what_is_too_large_says_so(harness: GatewayHarness) -> None:
    async with httpx.AsyncClient(base_url=harness.rest) as anonymous:
        error = await asked(anonymous, framed(b" " * (17 << 10)))
    assert detail(error["details"][0]).reason == "REQUEST_TOO_LARGE"


@pytest.mark.parametrize("path", [WATCH, REFLECT, "/some.Service/Method", "/"])
async def test_other_streams_say_that_they_are_not_in_json(
    harness: GatewayHarness, rest: httpx.AsyncClient, path: str
) -> None:
    answer = await rest.post(path, headers=JSON_STREAM, content=ASKED)
    kind = answer.headers["content-type"]
    assert (answer.status_code, kind) == (200, JSON_STREAM["content-type"])
    error = last_error(answer.content)
    assert error["code"] == "unimplemented"
    assert detail(error["details"][0]).reason == "CONTENT_TYPE_UNSUPPORTED"
    assert "application/connect+proto" in error["message"]
    assert harness.upstream.calls == []


async def test_a_stream_is_no_unary_call(harness: GatewayHarness, rest: httpx.AsyncClient) -> None:
    answer = await rest.post(EVENTS, headers=JSON, content="{}")
    assert (answer.status_code, answer.json()["code"]) == (415, 3)
    assert harness.upstream.calls == []


@pytest.mark.parametrize("verb", ["GET", "PUT"])
async def test_only_post_is_a_call(
    harness: GatewayHarness, rest: httpx.AsyncClient, verb: str
) -> None:
    answer = await rest.request(verb, EVENTS, headers=JSON_STREAM, content=ASKED)
    assert answer.status_code == 405
    assert harness.upstream.calls == []
