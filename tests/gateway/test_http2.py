"""HTTP/2 frame by frame: what a library for clients would not send, or not show."""

import asyncio
from typing import Any

import h2.connection
import httpx
import pytest
from h2.config import H2Configuration
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from tests.gateway.conftest import GatewayHarness
from tests.gateway.status import check_refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

Headers = list[tuple[str, str]]

GET: Headers = [
    (":method", "GET"),
    (":path", "/operations/a"),
    (":scheme", "http"),
    (":authority", "a"),
]
POST: Headers = [
    (":method", "POST"),
    (":path", "/iam/v1/tokens"),
    *GET[2:],
    ("content-type", "application/json"),
]


async def exchange(
    harness: GatewayHarness,
    headers: Headers,
    body: bytes | None = None,
    trailers: Headers | None = None,
) -> list[Event]:
    """Sends one request on a connection of its own; returns all that came back for it."""
    configuration = H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(configuration)
    connection.initiate_connection()
    connection.send_headers(1, headers, end_stream=body is None and trailers is None)
    if body is not None:
        connection.send_data(1, body, end_stream=trailers is None)
    if trailers is not None:
        connection.send_headers(1, trailers, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", harness.settings.http_port)
    events: list[Event] = []
    try:
        writer.write(connection.data_to_send())
        async with asyncio.timeout(10):
            while not any(
                isinstance(event, StreamEnded | StreamReset | ConnectionTerminated)
                for event in events
            ):
                received = await reader.read(65536)
                assert received
                events += connection.receive_data(received)
    finally:
        writer.close()
    return events


def response(events: list[Event]) -> httpx.Response:
    (head,) = (event for event in events if isinstance(event, ResponseReceived))
    assert head.headers is not None
    headers: Any = dict(head.headers)
    body = b"".join(event.data or b"" for event in events if isinstance(event, DataReceived))
    asked = httpx.Request("GET", "http://localhost/")
    return httpx.Response(int(headers.pop(":status")), headers=headers, content=body, request=asked)


async def test_a_rest_answer_has_no_trailers(harness: GatewayHarness) -> None:
    """gRPC's would follow the JSON."""
    events = await exchange(harness, GET)
    assert response(events).status_code == 200
    assert not [event for event in events if isinstance(event, TrailersReceived)]


async def test_a_callers_trailers_stop_at_the_gateway(harness: GatewayHarness) -> None:
    trailers = [("grpc-timeout", "nonsense"), ("x-trace-bin", "!!!"), ("x-other", "a")]
    assert response(await exchange(harness, POST, b'{"jwt": "a"}', trailers)).status_code == 200
    assert harness.upstream.calls[0].request.jwt == "a"


async def test_a_path_that_is_not_ascii(harness: GatewayHarness) -> None:
    path = [GET[0], (":path", "/operations/я"), *GET[2:]]
    assert response(await exchange(harness, path)).status_code == 200
    assert harness.upstream.calls[0].request.operation_id == "я"


NATIVE: Headers = [
    POST[0],
    (":path", "/yandex.cloud.operation.OperationService/Get"),
    *GET[2:],
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
# The server's core would break the call off for each, and later calls that have the same header.
AGAINST_GRPC: dict[str, tuple[str, str]] = {
    "a name that is HTTP's but not gRPC's": ("a~b", "1"),
    "the same with a letter that is not ASCII in the value": ("a*b", "я"),
    "binary that is not base64": ("trace-bin", "!!!"),
    "binary, twice in one": ("trace-bin", "QUI,QUI"),
    "a number of attempts": ("grpc-previous-rpc-attempts", "x"),
    "a status": ("grpc-status", "x"),
}


@pytest.mark.parametrize("header", AGAINST_GRPC.values(), ids=AGAINST_GRPC)
@pytest.mark.parametrize("asked", [GET, NATIVE], ids=["REST", "native"])
async def test_metadata_against_grpcs_rules(
    harness: GatewayHarness, asked: Headers, header: tuple[str, str]
) -> None:
    body = None if asked == GET else bytes(5)
    answer = response(await exchange(harness, [*asked, header], body))
    assert answer.status_code == 200
    assert answer.headers.get("grpc-status", "0") == "0"
    (call,) = harness.upstream.calls
    assert header[0] not in call.metadata


@pytest.mark.parametrize("path", [NATIVE[1][1], "/grpc.health.v1.Health/Check"])
@pytest.mark.parametrize("deadline", ["soon", "", "1", "S", "-1S", "1.5S", "123456789S", "1S,1S"])
async def test_a_deadline_that_can_not_be_read(
    harness: GatewayHarness, path: str, deadline: str
) -> None:
    asked = [NATIVE[0], (":path", path), *NATIVE[2:]]
    answer = response(await exchange(harness, [*asked, ("grpc-timeout", deadline)], bytes(5)))
    assert answer.headers["grpc-status"] == "3"
    assert answer.headers["grpc-message"].startswith("grpc-timeout is ")
    assert harness.upstream.calls == []


@pytest.mark.parametrize(
    ("name", "good", "code"), [("grpc-encoding", "gzip", "12"), ("grpc-timeout", "5S", "3")]
)
async def test_two_lines_of_which_one_can_not_be_read(
    harness: GatewayHarness, name: str, good: str, code: str
) -> None:
    answer = response(await exchange(harness, [*NATIVE, (name, "x"), (name, good)], bytes(5)))
    assert answer.headers["grpc-status"] == code
    answer = response(await exchange(harness, [*NATIVE, (name, good), (name, "x")], bytes(5)))
    assert answer.headers.get("grpc-status", "0") in {"0", code}
    assert {call.metadata.get(name) for call in harness.upstream.calls} <= {good, None}


async def test_a_deadline_is_for_grpc_alone(harness: GatewayHarness) -> None:
    assert response(await exchange(harness, [*GET, ("grpc-timeout", "soon")])).status_code == 200


async def test_a_native_callers_trailers_stop_at_the_gateway(harness: GatewayHarness) -> None:
    await exchange(harness, NATIVE, bytes(5), [("a~b", "1"), ("x-trace-bin", "!!!")])
    assert len(harness.upstream.calls) == 1


@pytest.mark.parametrize("coding", ["br", "snappy", "gzip, br", ""])
async def test_an_unknown_compression_is_refused_with_those_that_are_known(
    harness: GatewayHarness, coding: str
) -> None:
    answer = response(await exchange(harness, [*NATIVE, ("grpc-encoding", coding)], bytes(5)))
    assert answer.headers["grpc-status"] == "12"
    assert (
        answer.headers["grpc-message"] == "Messages may be compressed by: identity, deflate, gzip."
    )
    assert harness.upstream.calls == []


async def test_an_unknown_verb_is_refused(harness: GatewayHarness) -> None:
    answer = response(await exchange(harness, [(":method", "FROB"), *GET[1:]]))
    check_refusal(answer, 405, 12, "METHOD_NOT_ALLOWED")


# Envoy's codec breaks these streams off before anything else sees them; no setting lets it answer.
MALFORMED: dict[str, Headers] = {
    "no authority": GET[:3],
    "no path": [GET[0], *GET[2:]],
    "space in the path": [GET[0], (":path", "/operations/a b"), *GET[2:]],
    "name in upper case": [*GET, ("X-Name", "a")],
    "header of HTTP/1": [*GET, ("connection", "close")],
    "NUL in a value": [*GET, ("x-name", "a\0b")],
    "line end in a value": [*GET, ("x-name", "a\nb")],
    "length that is not the body's": [*POST, ("content-length", "5")],
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests_end_their_stream_alone(
    harness: GatewayHarness, headers: Headers
) -> None:
    """The stream ends with an error of HTTP/2, the connection serves on, the server sees nothing."""
    body = b"{}" if headers[0] == POST[0] else None
    events = await exchange(harness, headers, body)
    assert any(isinstance(event, StreamReset) for event in events)
    assert not any(isinstance(event, ConnectionTerminated) for event in events)
    assert harness.upstream.calls == []


HEALTH: Headers = [POST[0], (":path", "/grpc.health.v1.Health/Check"), *NATIVE[2:]]


@pytest.mark.parametrize("asked", [NATIVE, HEALTH], ids=["method", "health"])
async def test_a_native_call_needs_no_te(harness: GatewayHarness, asked: Headers) -> None:
    """Proxies take it away; the server's core would end the call with UNKNOWN."""
    answer = response(await exchange(harness, asked[:-1], bytes(5)))
    assert answer.headers.get("grpc-status", "0") == "0"


@pytest.mark.parametrize("verb", ["GET", "PUT", "BREW"])
@pytest.mark.parametrize("asked", [NATIVE, HEALTH], ids=["method", "health"])
async def test_a_native_call_is_post(harness: GatewayHarness, asked: Headers, verb: str) -> None:
    answer = response(await exchange(harness, [(":method", verb), *asked[1:]], bytes(5)))
    assert (answer.status_code, answer.headers["grpc-status"]) == (200, "12")
    assert answer.headers["grpc-message"] == "gRPC's calls are POST, whatever their path."
    assert harness.upstream.calls == []
