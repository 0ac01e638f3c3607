"""The access log: one line of JSON for each request, with the gRPC code that was answered."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2

from tests.gateway.conftest import MAX_BODY_BYTES, GatewayHarness, running
from tests.gateway.test_answers import GET, INVITE, STATUSES, failing
from tests.gateway.test_web_protocols import CODES
from tests.gateway.upstream import Context

pytestmark = pytest.mark.asyncio(loop_scope="session")

PERSON = "ostap-bender"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CODES_OF_CONNECT = {name: code for code, name in CODES.items()}
INVITE_PATH = "/billing/v1/customers:invite"
JSON = {"content-type": "application/json"}

# HTTP status and gRPC code by what was asked.
Expected = dict[str, tuple[int, int | None]]


def _lines(var: Path) -> list[dict[str, Any]]:
    """Returns the log's lines, once the gateway has ended and written all."""
    return [json.loads(line) for line in (var / "logs" / "access.log").read_text().splitlines()]


def _logged(var: Path) -> Expected:
    """Returns HTTP status and gRPC code by request ID."""
    return {line["request_id"]: (line["status"], line["grpc_status"]) for line in _lines(var)}


async def _ask(
    client: httpx.AsyncClient, id_: str, method: str, path: str, **options: Any
) -> httpx.Response:
    headers = {"x-request-id": id_, **options.pop("headers", {})}
    return await client.request(method, path, headers=headers, **options)


# What Envoy itself answers, or lets the server answer well: method, path, options, status, code.
OWN: dict[str, tuple[str, str, dict[str, Any], int, int | None]] = {
    "read": ("GET", f"/operations/{PERSON}", {}, 200, 0),
    "write": ("POST", INVITE_PATH, {"json": {"name": PERSON}}, 200, 0),
    "unknown-path": ("GET", f"/nowhere/{PERSON}", {}, 404, 5),
    "encoded-slash": ("GET", "/operations/a%2Fb", {}, 404, 5),
    "other-method": ("DELETE", "/operations/1", {}, 405, 12),
    "unknown-parameter": ("GET", f"/operations/1?{PERSON}=1", {}, 400, 3),
    "unknown-field": ("POST", INVITE_PATH, {"json": {PERSON: 1}}, 400, 3),
    "broken-json": ("POST", INVITE_PATH, {"content": "{", "headers": JSON}, 400, 3),
    "wrong-type": ("POST", INVITE_PATH, {"json": {"person": 1}}, 400, 3),
    "content-type": ("POST", INVITE_PATH, {"content": "x=1"}, 415, 3),
    "large-body": ("POST", INVITE_PATH, {"json": {"name": "x" * 2 * MAX_BODY_BYTES}}, 413, 3),
    "large-headers": ("GET", "/operations/1", {"headers": {"x": "y" * 40_000}}, 431, 3),
    "static-file": ("GET", "/openapi.json", {}, 200, None),
}


@pytest.mark.parametrize("h2", [False, True])
async def test_rest_answers_have_the_code_of_their_body(tmp_path: Path, h2: bool) -> None:
    expected: Expected = {}
    async with (
        running(tmp_path) as harness,
        httpx.AsyncClient(base_url=harness.rest, http1=not h2, http2=h2) as client,
    ):
        for id_, (method, path, options, status, code) in OWN.items():
            answered = await _ask(client, id_, method, path, **options)
            assert answered.status_code == status, id_
            assert not any(name.startswith("grpc-") for name in answered.headers)
            if status >= 400:
                assert answered.json()["code"] == code
            expected[id_] = (status, code)
        for code, status in STATUSES.items():
            for kind, details in (("plain", []), ("detailed", [error_details_pb2.ErrorInfo()])):
                harness.upstream.answers[GET] = failing(code, *details)
                answered = await _ask(client, f"{kind}-{code}", "GET", f"/operations/{PERSON}")
                assert answered.json()["code"] == code
                expected[f"{kind}-{code}"] = (status, code)
    assert _logged(tmp_path) == expected
    assert PERSON not in (tmp_path / "logs" / "access.log").read_text()


IDS = (("x-call-caller", "aje1"), ("x-call-operation", "bop1"))


async def _well(_request: Any, context: Context) -> None:
    context.set_trailing_metadata(IDS)


async def _ill(_request: Any, context: Context) -> None:
    context.set_trailing_metadata(IDS)
    await context.abort(grpc.StatusCode.NOT_FOUND, "no")


async def test_caller_and_operation_are_told_of_each_call(tmp_path: Path) -> None:
    web = {"content-type": "application/grpc-web+proto"}
    async with (
        running(tmp_path) as harness,
        grpc.aio.insecure_channel(harness.grpc) as channel,
    ):
        for kind, answer in (("well", _well), ("ill", _ill)):
            harness.upstream.answers[GET] = answer
            for h2 in (False, True):
                async with httpx.AsyncClient(
                    base_url=harness.rest, http1=not h2, http2=h2
                ) as client:
                    answered = await _ask(client, f"rest-{kind}-{h2}", "GET", "/operations/1")
                    assert not any(name.startswith("x-call-") for name in answered.headers)
                    options = {"headers": web, "content": b"\0" * 5}
                    answered = await _ask(client, f"web-{kind}-{h2}", "POST", GET, **options)
                    assert b"x-call-" not in answered.content
            call = _unary(channel, GET)(b"", metadata=[("x-request-id", f"native-{kind}")])
            await call.code()
    lines = _lines(tmp_path)
    assert len(lines) == 10
    for line in lines:
        assert (line["caller"], line["operation"]) == ("aje1", "bop1"), line


async def test_answers_of_connect_have_the_code_of_their_body(tmp_path: Path) -> None:
    unary = {"content-type": "application/proto", "connect-protocol-version": "1"}
    streaming = {"content-type": "application/connect+proto"}
    expected: Expected = {}
    async with (
        running(tmp_path) as harness,
        httpx.AsyncClient(base_url=harness.rest) as client,
    ):

        async def ask(id_: str, path: str, headers: dict[str, str], code: int) -> None:
            content = b"" if headers["content-type"] == unary["content-type"] else b"\0" * 5
            answered = await _ask(client, id_, "POST", path, headers=headers, content=content)
            expected[id_] = (answered.status_code, code)

        await ask("well", GET, unary, 0)
        for code in STATUSES:
            harness.upstream.answers[GET] = failing(code)
            await ask(f"error-{code}", GET, unary, code)
        await ask("unknown-method", "/nowhere.Service/Get", unary, 12)
        await ask("deadline", GET, {**unary, "connect-timeout-ms": "x"}, 3)
        await ask("stream-deadline", GET, {**streaming, "connect-timeout-ms": "x"}, 3)
        # What it does not know of is no error; what is no message is.
        await ask("stream-well", REFLECT, streaming, 0)
        broken = {"headers": streaming, "content": b"\0\0\0\0\1\xff"}
        answered = await _ask(client, "stream-error", "POST", REFLECT, **broken)
        told = json.loads(answered.content[5:])["error"]["code"]
        expected["stream-error"] = (200, CODES_OF_CONNECT[told])
        events = "/billing.v1.EventService/WatchEvents"
        framed_json = {"headers": {"content-type": "application/connect+json"}}
        harness.upstream.answers["/billing.v1.EventStreamService/WatchEvents"] = failing(14)
        for id_, path, content, code in (
            ("json-stream-error", events, b"\0\0\0\0\2{}", 14),
            ("json-stream-refused", events, b"{}", 3),
            ("json-stream-compressed", events, b"\1\0\0\0\0", 12),
            ("no-json-stream", REFLECT, b"\0\0\0\0\2{}", 12),
        ):
            await _ask(client, id_, "POST", path, content=content, **framed_json)
            expected[id_] = (200, code)
    assert _logged(tmp_path) == expected


def _unary(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(method)


def _streaming(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_stream(method)


async def test_native_calls_have_the_code_of_their_trailer(tmp_path: Path) -> None:
    expected: Expected = {}

    async def call(id_: str, method: str, code: int) -> None:
        call = _unary(channel, method)(b"", metadata=[("x-request-id", id_)])
        assert (await call.code()).value[0] == code
        expected[id_] = (200, code)

    async with running(tmp_path) as harness, grpc.aio.insecure_channel(harness.grpc) as channel:
        await call("ok", GET, 0)
        await call("unknown-method", "/nowhere.Service/Get", 12)
        for code in STATUSES:
            harness.upstream.answers[GET] = failing(code)
            await call(f"error-{code}", GET, code)
        watch = _streaming(channel, "/grpc.health.v1.Health/Watch")
        watched = watch(b"", metadata=[("x-request-id", "broken-off")])
        assert await watched.read() == b"\x08\x01"
        watched.cancel()
        expected["broken-off"] = (200, None)
    assert _logged(tmp_path) == expected


Asked = Callable[[httpx.AsyncClient, GatewayHarness], Awaitable[tuple[int, int]]]


async def _asked_while_away(client: httpx.AsyncClient, harness: GatewayHarness) -> tuple[int, int]:
    await harness.upstream.stop()
    return (await _ask(client, "asked", "POST", INVITE_PATH, json={})).status_code, 14


async def _asked_too_often(client: httpx.AsyncClient, _harness: GatewayHarness) -> tuple[int, int]:
    await asyncio.gather(*(client.get("/operations/1") for _ in range(10)))
    return (await _ask(client, "asked", "GET", "/operations/1")).status_code, 8


async def _asked_for_too_long(
    client: httpx.AsyncClient, harness: GatewayHarness
) -> tuple[int, int]:
    async def hang(_request: Any, _context: Context) -> None:
        await asyncio.Event().wait()

    harness.upstream.answers[INVITE] = hang
    return (await _ask(client, "asked", "POST", INVITE_PATH, json={})).status_code, 4


@pytest.mark.parametrize(
    ("ask", "settings", "status"),
    [
        (_asked_while_away, {}, 503),
        (_asked_too_often, {"requests_per_s": 1}, 429),
        (_asked_for_too_long, {"timeout_s": 0.2}, 504),
    ],
)
async def test_the_gateways_own_errors_are_logged_with_their_code(
    tmp_path: Path, ask: Asked, settings: dict[str, Any], status: int
) -> None:
    async with (
        running(tmp_path, **settings) as harness,
        httpx.AsyncClient(base_url=harness.rest) as client,
    ):
        answered, code = await ask(client, harness)
    assert answered == status
    assert _logged(tmp_path)["asked"] == (status, code)


async def test_what_is_not_http_has_the_code_of_its_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as harness:
        reader, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
        writer.write(b"NONSENSE\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b'"code":3' in answer
    assert b"grpc-status" not in answer
    (line,) = _lines(tmp_path)
    assert (line["status"], line["grpc_status"]) == (400, 3)
