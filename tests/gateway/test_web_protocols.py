"""gRPC-Web and Connect, spoken byte by byte as their specifications have them."""

import asyncio
import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from gateway.http_rules import DescriptorSet
from tests.gateway.conftest import TOKEN, GatewayHarness
from tests.gateway.test_answers import STATUSES, failing
from tests.gateway.test_native import METHODS

pytestmark = pytest.mark.asyncio(loop_scope="session")

GET = "/yandex.cloud.operation.OperationService/Get"
EVENTS = "/billing.v1.EventService/WatchEvents"
INFO = error_details_pb2.ErrorInfo(reason="WHY", domain="billing.example.com", metadata={"a": "b"})
# Of an answer of the server's core.
BARE_INFO = error_details_pb2.ErrorInfo(reason="DEADLINE_EXCEEDED", domain="billing.example.com")
TYPE = "google.rpc.ErrorInfo"
WEB = {"content-type": "application/grpc-web+proto"}
TEXT = {"content-type": "application/grpc-web-text", "accept": "application/grpc-web-text"}
CONNECT = {"content-type": "application/proto", "connect-protocol-version": "1"}
JSON = {"content-type": "application/json", "connect-protocol-version": "1"}
STREAM = {"content-type": "application/connect+proto", "connect-protocol-version": "1"}
MESSAGE = 'No, "нет"\n 100%\\'
# The names of gRPC's codes in Connect.
CODES = {
    1: "canceled",
    2: "unknown",
    3: "invalid_argument",
    4: "deadline_exceeded",
    5: "not_found",
    6: "already_exists",
    7: "permission_denied",
    8: "resource_exhausted",
    9: "failed_precondition",
    10: "aborted",
    11: "out_of_range",
    12: "unimplemented",
    13: "internal",
    14: "unavailable",
    15: "data_loss",
    16: "unauthenticated",
}
DESCRIBED = DescriptorSet.read(Path("gen", "descriptors.pb")).methods
STREAMING = [method.path for method in DESCRIBED if method.streaming]


def framed(message: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


def frames(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        flag, size = struct.unpack(">BI", body[:5])
        found.append((flag, body[5 : 5 + size]))
        assert len(found[-1][1]) == size
        body = body[5 + size :]
    return found


def trailers(frame: tuple[int, bytes]) -> dict[str, str]:
    flag, text = frame
    assert flag == 0x80
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if line)


def status_of(packed: str) -> status_pb2.Status:
    return status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))


def detail(given: dict[str, str]) -> error_details_pb2.ErrorInfo:
    """Returns a Connect error's detail, whose base64 has no padding."""
    assert given["type"] == TYPE
    value = given["value"]
    return error_details_pb2.ErrorInfo.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))


async def named(harness: GatewayHarness) -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        return harness.upstream.message("yandex.cloud.operation.Operation")(id="я")

    harness.upstream.answers[GET] = answer


def operation(harness: GatewayHarness, message: bytes) -> str:
    return str(harness.upstream.message("yandex.cloud.operation.Operation").FromString(message).id)


def asked(harness: GatewayHarness) -> bytes:
    request = harness.upstream.message("yandex.cloud.operation.GetOperationRequest")
    return bytes(request(operation_id="a").SerializeToString())


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_is_called_by_both(
    harness: GatewayHarness, rest: httpx.AsyncClient, method: str
) -> None:
    web = await rest.post(method, headers=WEB, content=framed(b""))
    assert web.status_code == 200, web.text
    *_, last = frames(web.content)
    assert trailers(last)["grpc-status"] == "0"
    if method in STREAMING:
        connect = await rest.post(method, headers=STREAM, content=framed(b""))
        assert frames(connect.content)[-1][0] == 2
    else:
        connect = await rest.post(method, headers=CONNECT, content=b"")
    kind = STREAM if method in STREAMING else CONNECT
    assert (connect.status_code, connect.headers["content-type"]) == (200, kind["content-type"])
    assert [call.method for call in harness.upstream.calls] == [method] * 2


async def test_grpc_web_in_binary_and_in_text(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    await named(harness)
    binary = await rest.post(GET, headers=WEB, content=framed(asked(harness)))
    assert binary.headers["content-type"] == "application/grpc-web+proto"
    first, last = frames(binary.content)
    assert operation(harness, first[1]) == "я"
    assert trailers(last)["grpc-status"] == "0"
    text = await rest.post(GET, headers=TEXT, content=base64.b64encode(framed(asked(harness))))
    assert text.headers["content-type"].startswith("application/grpc-web-text")
    # Each part is padded by itself.
    whole = b"".join(base64.b64decode(part + b"=") for part in text.content.split(b"=") if part)
    assert frames(whole)[0] == first
    assert {call.request.operation_id for call in harness.upstream.calls} == {"a"}
    assert harness.upstream.calls[0].metadata["authorization"] == TOKEN["authorization"]


@pytest.mark.parametrize(
    ("sent", "accepted", "answered"),
    [
        (TEXT, "*/*, application/grpc-web-text", TEXT),
        (TEXT, "application/grpc-web-text+proto", TEXT),
        (TEXT, "*/*", TEXT),
        (TEXT, "application/grpc-web+proto", WEB),
        (WEB, "application/grpc-web-text, */*", TEXT),
        (WEB, "*/*", WEB),
    ],
)
async def test_grpc_web_answers_in_what_its_caller_accepts(
    rest: httpx.AsyncClient,
    sent: dict[str, str],
    accepted: str,
    answered: dict[str, str],
) -> None:
    """XMLHttpRequests of Node.js add what they are given to the `*/*` that is theirs."""
    content = base64.b64encode(framed(b"")) if sent is TEXT else framed(b"")
    answer = await rest.post(GET, headers={**sent, "accept": accepted}, content=content)
    kind = answer.headers["content-type"].removesuffix("+proto")
    assert (answer.status_code, kind) == (200, answered["content-type"].removesuffix("+proto"))


@pytest.mark.parametrize(("code", "http"), STATUSES.items())
async def test_errors_arrive_with_details(
    harness: GatewayHarness, rest: httpx.AsyncClient, code: int, http: int
) -> None:
    harness.upstream.answers[GET] = failing(code, INFO, message=MESSAGE)
    web = await rest.post(GET, headers=WEB, content=framed(b""))
    assert (web.status_code, web.headers["grpc-status"]) == (200, str(code))
    status = status_of(web.headers["grpc-status-details-bin"])
    assert (status.code, status.message, len(status.details)) == (code, MESSAGE, 1)
    connect = await rest.post(GET, headers=CONNECT, content=b"")
    assert connect.headers["content-type"] == "application/json"
    body = connect.json()
    assert (connect.status_code, body["code"], body["message"]) == (http, CODES[code], MESSAGE)
    assert detail(body["details"][0]) == INFO
    assert "=" not in body["details"][0]["value"]


async def test_an_error_without_details_has_its_code_for_a_reason(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    """As the server's core answers a deadline that has passed."""

    async def bare(_request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, MESSAGE)

    harness.upstream.answers[GET] = harness.upstream.answers[EVENTS] = bare
    web = await rest.post(GET, headers=WEB, content=framed(b""))
    status = status_of(web.headers["grpc-status-details-bin"])
    assert (web.headers["grpc-status"], status.code, status.message) == ("4", 4, MESSAGE)
    info = error_details_pb2.ErrorInfo()
    (packed,) = status.details
    assert packed.Unpack(info)
    assert info == BARE_INFO
    for headers in (CONNECT, JSON):
        content = "{}" if headers is JSON else b""
        connect = await rest.post(GET, headers=headers, content=content)
        body = connect.json()
        assert (connect.status_code, body["message"]) == (504, MESSAGE)
        assert list(map(detail, body["details"])) == [BARE_INFO]
    stream = await rest.post(EVENTS, headers=STREAM, content=framed(b""))
    ((_, end),) = frames(stream.content)
    error = json.loads(end)["error"]
    assert (error["code"], error["message"]) == ("deadline_exceeded", MESSAGE)
    assert list(map(detail, error["details"])) == [BARE_INFO]


@pytest.mark.parametrize("flag", [2, 3, 8, 128])
async def test_a_frame_that_is_no_message_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, flag: int
) -> None:
    """The server's core would read it as an empty message."""
    content = framed(asked(harness), flag)
    web = await rest.post(GET, headers=WEB, content=content)
    assert web.headers["grpc-status"] != "0"
    _, ((_, end),) = await first_frames(rest, WATCH, STREAM, framed(b"", flag), 1)
    assert "error" in json.loads(end)
    assert not [call for call in harness.upstream.calls if not call.request.ListFields()]


async def test_connect_may_leave_its_version_out(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    await named(harness)
    headers = {"content-type": CONNECT["content-type"]}
    answer = await rest.post(GET, headers=headers, content=asked(harness))
    assert (answer.status_code, answer.headers["content-type"]) == (200, headers["content-type"])
    assert operation(harness, answer.content) == "я"
    harness.upstream.answers[GET] = failing(5, INFO)
    refused = await rest.post(GET, headers=headers, content=asked(harness))
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


async def test_connect_passes_deadlines_on(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    await rest.post(GET, headers={**CONNECT, "connect-timeout-ms": "5000"}, content=b"")
    remaining_s = harness.upstream.calls[0].remaining_s
    assert remaining_s is not None and 0 < remaining_s <= 5


UNREADABLE = [
    ("grpc-timeout", "nonsense", 3, "REQUEST_MALFORMED"),
    ("connect-timeout-ms", "nonsense", 3, "REQUEST_MALFORMED"),
    ("connect-timeout-ms", "-1", 3, "REQUEST_MALFORMED"),
    ("connect-timeout-ms", "12345678901", 3, "REQUEST_MALFORMED"),
    ("grpc-encoding", "br", 12, "COMPRESSION_UNSUPPORTED"),
    ("content-encoding", "br", 12, "COMPRESSION_UNSUPPORTED"),
    ("content-encoding", "gzip, gzip", 12, "COMPRESSION_UNSUPPORTED"),
    ("connect-content-encoding", "zstd", 12, "COMPRESSION_UNSUPPORTED"),
    ("connect-protocol-version", "2", 3, "REQUEST_MALFORMED"),
    ("connect-protocol-version", "", 3, "REQUEST_MALFORMED"),
]


def reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize(("header", "value", "code", "why"), UNREADABLE)
async def test_what_would_break_the_servers_connection_is_refused(
    harness: GatewayHarness, rest: httpx.AsyncClient, header: str, value: str, code: int, why: str
) -> None:
    """And the calls of others that are under way on it come to their ends."""
    begun = asyncio.Event()
    go_on = asyncio.Event()

    async def held(_request: Any, _context: Any) -> None:
        begun.set()
        await go_on.wait()

    harness.upstream.answers["/google.longrunning.Operations/GetOperation"] = held
    innocent = asyncio.create_task(rest.get("/v1/operations/a"))
    await begun.wait()
    web = await rest.post(GET, headers={**WEB, header: value}, content=framed(b""))
    assert (web.status_code, web.headers["grpc-status"]) == (200, str(code))
    assert reason(status_of(web.headers["grpc-status-details-bin"])) == why
    connect = await rest.post(GET, headers={**CONNECT, header: value}, content=b"")
    assert (connect.status_code, connect.json()["code"]) == (STATUSES[code], CODES[code])
    assert detail(connect.json()["details"][0]).reason == why
    assert not [name for name in connect.headers if name.startswith("grpc-")]
    stream = await rest.post(GET, headers={**STREAM, header: value}, content=framed(b""))
    assert (stream.status_code, stream.headers["content-type"]) == (200, STREAM["content-type"])
    ((flag, end),) = frames(stream.content)
    assert flag == 2
    assert f'"code":"{CODES[code]}"' in end.decode()
    assert len(harness.upstream.calls) == 1
    go_on.set()
    assert (await innocent).status_code == 200


async def test_unknown_methods_are_unimplemented(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    web = await rest.post("/some.Service/Method", headers=WEB, content=framed(b""))
    assert (web.status_code, web.headers["grpc-status"]) == (200, "12")
    connect = await rest.post("/some.Service/Method", headers=CONNECT, content=b"")
    assert (connect.status_code, connect.json()["code"]) == (404, "unimplemented")
    assert harness.upstream.calls == []


@pytest.mark.parametrize("headers", [WEB, CONNECT])
async def test_what_is_too_large_says_so(harness: GatewayHarness, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=harness.rest) as anonymous:
        answer = await anonymous.post(GET, headers=headers, content=b"\0" * (17 << 10))
    if headers is WEB:
        assert (answer.status_code, answer.headers["grpc-status"]) == (200, "8")
    else:
        assert answer.json()["code"] == "resource_exhausted"
        assert detail(answer.json()["details"][0]).reason == "REQUEST_TOO_LARGE"


async def test_a_compressed_connect_message_is_read(
    harness: GatewayHarness, rest: httpx.AsyncClient
) -> None:
    packed = gzip.compress(asked(harness))
    answer = await rest.post(GET, headers={**CONNECT, "content-encoding": "gzip"}, content=packed)
    assert answer.status_code == 200, answer.text
    assert harness.upstream.calls[0].request.operation_id == "a"


WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def first_frames(
    rest: httpx.AsyncClient, method: str, headers: dict[str, str], content: bytes, count: int
) -> tuple[httpx.Response, list[tuple[int, bytes]]]:
    """Reads frames of a stream as they come, until there are so many or it ends."""
    body = b""
    found: list[tuple[int, bytes]] = []
    async with rest.stream("POST", method, headers=headers, content=content) as response:
        async with asyncio.timeout(10):
            async for part in response.aiter_raw():
                body += part
                while len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big"):
                    size = 5 + int.from_bytes(body[1:5], "big")
                    found += frames(body[:size])
                    body = body[size:]
                if len(found) >= count:
                    break
    return response, found


@pytest.mark.parametrize("headers", [WEB, STREAM])
async def test_messages_of_a_stream_arrive_at_once(
    rest: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    asked = health_pb2.HealthCheckRequest().SerializeToString()
    response, (first,) = await first_frames(rest, WATCH, headers, framed(asked), 1)
    assert response.status_code == 200
    assert response.headers["content-type"] == headers["content-type"]
    answer = health_pb2.HealthCheckResponse.FromString(first[1])
    assert (first[0], answer.status) == (0, health_pb2.HealthCheckResponse.SERVING)


async def test_a_stream_of_connect_ends_with_its_error(
    rest: httpx.AsyncClient,
) -> None:
    _, ((flag, end),) = await first_frames(rest, REFLECT, STREAM, framed(b"\xff"), 1)
    assert flag == 2
    error = json.loads(end)["error"]
    assert error["code"] in CODES.values()
