"""How requests arrive: none, cut short, compressed, too large, unreadable. Every one is answered."""

import asyncio
import gzip
import zlib
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from server.config import Settings
from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.message_reader import unpacked
from tests.fuzz.inputs import Input
from tests.fuzz.wire import H2Client
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request

GET = "/yandex.cloud.operation.OperationService/Get"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.mark.parametrize("method", [GET, CHECK])
async def test_a_call_without_a_message_is_answered(api: Api, method: str) -> None:
    """As a stream that ends at once, which a unary method's caller should not send."""
    send: Any = api.channel.stream_unary(method)
    code, reason, _ = await refusal(send(iter(()), metadata=api.as_("writer"), timeout=20))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


async def test_a_watch_without_a_message_is_answered(api: Api) -> None:
    call: Any = api.channel.stream_stream(WATCH)(iter(()), timeout=20)
    code, reason, _ = await refusal(call.read())
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


@pytest.mark.parametrize("method", [GET, CHECK])
async def test_what_is_no_message_is_the_callers_error(api: Api, method: str) -> None:
    send: Any = api.channel.unary_unary(method)
    code, reason, _ = await refusal(send(b"\x0a\x02\xff\xfe", metadata=api.as_("writer")))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


async def test_what_is_no_reflection_request_is_the_callers_error(api: Api) -> None:
    reflect: Any = api.channel.stream_stream(REFLECTION)
    call = reflect(iter([b"\x1a\x02\xff\xfe"]))
    code, reason, _ = await refusal(call.read())
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


async def test_health_is_watched(api: Api) -> None:
    watch: Any = api.channel.unary_stream(WATCH)
    call = watch(b"")
    seen = health_pb2.HealthCheckResponse.FromString(await call.read())
    assert seen.status == health_pb2.HealthCheckResponse.SERVING
    call.cancel()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_messages_are_read(api: Api, compression: grpc.Compression) -> None:
    made = await api.customers.Invite(
        request(name="a" * 1000), metadata=api.as_("writer"), compression=compression
    )
    assert made.id


async def test_a_small_message_that_unpacks_to_a_huge_one_is_refused(
    api: Api, settings: Settings
) -> None:
    send: Any = api.channel.unary_unary(GET)
    bomb = bytes(64 << 20)
    code, reason, status = await refusal(
        send(bomb, metadata=api.as_("writer"), compression=grpc.Compression.Gzip)
    )
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.metadata["maxBytes"] == str(settings.max_body_bytes)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_unpacking_stops_at_the_limit(pack: Any) -> None:
    assert unpacked(pack(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(BillingError) as refused:
        unpacked(pack(bytes(1001)), 1000)
    assert refused.value.reason is Reason.REQUEST_TOO_LARGE


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x0a\x01a",
        b"\x78\x01",  # field 15 is 1
        b"\x78\x9c\x01\x02",
        b"\x1f\x8b\x08junk",
        gzip.compress(b"cut short", mtime=0)[:-1],
        gzip.compress(b"with more", mtime=0) + b"behind",
    ],
)
def test_what_does_not_unpack_is_left_as_it_is(raw: bytes) -> None:
    assert unpacked(raw, 1000) == raw


async def test_no_header_reaches_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """A value that is not UTF-8, which grpcio's client would not send."""
    host, _, port = api.address.partition(":")
    client = H2Client((host, int(port)))
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", GET.encode()),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"authorization", b"Bearer secret-\xff"),
    )
    answer = await asyncio.to_thread(client.exchange, Input("grpc", bytes(5), headers), 20)
    client.close()
    assert answer.header(b"grpc-status") == "16"
    assert "secret-" not in caplog.text
