"""Native gRPC on the same port: passed on untouched, refused in gRPC's own way."""

import asyncio
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.routes import LONGEST_CALL_S
from tests.gateway.conftest import GatewayHarness, running
from tests.gateway.test_answers import GET, INVITE, failing, hang

pytestmark = pytest.mark.asyncio(loop_scope="session")

DESCRIPTORS = Path(__file__).parents[2] / "gen" / "descriptors.pb"
METHODS = [
    f"/{file.package}.{service.name}/{method.name}"
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    for service in file.service
    for method in service.method
]


def unary(channel: grpc.aio.Channel, method: str) -> Any:
    """Returns a call of a method with bytes for messages."""
    return channel.unary_unary(method)


async def refusal(channel: grpc.aio.Channel, method: str, **arguments: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unary(channel, method)(b"", **arguments)
    return caught.value


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_reaches_the_server_without_reserved_metadata(
    harness: GatewayHarness, native: grpc.aio.Channel, method: str
) -> None:
    sent = (
        ("x-request-id", "own"),
        ("trace-bin", b"\x00\xff"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-envoy-original-path", "/"),
    )
    if method.endswith("/WatchEvents"):
        watch: Any = native.unary_stream(method)
        call: Any = watch(b"", metadata=sent)
        assert [each async for each in call] == [b""]
    else:
        call = unary(native, method)(b"", metadata=sent)
        await call
    (seen,) = harness.upstream.calls
    assert seen.method == method
    assert "trace-bin" not in seen.metadata
    assert seen.metadata["x-forwarded-for"] == "127.0.0.1"
    assert "x-envoy-original-path" not in seen.metadata
    # A stream lasts for as long as its caller likes.
    assert (seen.remaining_s is None) is method.endswith("/WatchEvents")
    headers = dict(iter(await call.initial_metadata()))
    assert headers["x-request-id"] == "own"
    polled = method.rpartition("/")[0].endswith(("OperationService", "v1.CustomerService"))
    polled = polled and method.startswith("/yandex.") and not method.endswith("/List")
    polled = polled or method.endswith("/UpdateAccessBindings")
    assert headers.get("x-operation-poll-interval") == ("1" if polled else None)
    assert not [name for name in headers if name.startswith("x-envoy-")]


@pytest.mark.parametrize(
    "method",
    [
        "/some.Service/Method",
        "/yandex.cloud.operation.OperationService/Unknown",
        "/operations/a",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        "/",
    ],
)
async def test_unknown_methods_do_not_reach_the_server(
    harness: GatewayHarness, native: grpc.aio.Channel, method: str
) -> None:
    error = await refusal(native, method)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == "No method has this path."
    assert dict(iter(error.trailing_metadata()))["x-request-id"]
    assert harness.upstream.calls == []


async def test_statuses_pass_untouched(harness: GatewayHarness, native: grpc.aio.Channel) -> None:
    harness.upstream.answers[INVITE] = failing(6, metadata=(("retry-after", "7"),))
    error = await refusal(native, INVITE)
    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, 'No, "нет"\n')
    trailing = dict(iter(error.trailing_metadata()))
    assert trailing["retry-after"] == "7"
    assert b"\x08\x06" in trailing["grpc-status-details-bin"]


async def test_a_callers_deadline_reaches_the_server(
    harness: GatewayHarness, native: grpc.aio.Channel
) -> None:
    await unary(native, GET)(b"", timeout=40)
    remaining = harness.upstream.calls[0].remaining_s
    assert remaining is not None
    assert 30 < remaining < 41
    harness.upstream.answers[GET] = hang
    error = await refusal(native, GET, timeout=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_no_call_lasts_longer_for_its_deadline(
    harness: GatewayHarness, native: grpc.aio.Channel
) -> None:
    await unary(native, GET)(b"", timeout=10 * LONGEST_CALL_S)
    remaining = harness.upstream.calls[0].remaining_s
    assert remaining is not None
    assert remaining <= LONGEST_CALL_S


async def test_a_wait_has_more_time_than_other_calls(
    harness: GatewayHarness, native: grpc.aio.Channel
) -> None:
    await unary(native, "/google.longrunning.Operations/WaitOperation")(b"", timeout=500)
    remaining = harness.upstream.calls[0].remaining_s
    assert remaining is not None
    assert remaining > 400


async def test_calls_to_a_dead_server_are_unavailable(tmp_path: Path) -> None:
    async with running(tmp_path) as harness, grpc.aio.insecure_channel(harness.grpc) as native:
        await harness.upstream.stop()
        for method in (GET, INVITE):
            error = await refusal(native, method)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert error.details() == "The service is unavailable; try again later."


async def test_native_calls_over_the_rate_are_refused(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_s=1) as harness,
        grpc.aio.insecure_channel(harness.grpc) as native,
    ):
        answers = await asyncio.gather(
            *(unary(native, GET)(b"") for _ in range(5)), return_exceptions=True
        )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert refused
    assert refused[0].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused[0].details() == "Too many requests; try again later."


async def test_health_is_served_through_the_gateway(native: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(native)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watching = stub.Watch(health_pb2.HealthCheckRequest())
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    watching.cancel()


async def test_reflection_is_served_through_the_gateway(native: grpc.aio.Channel) -> None:
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", native))
    answers = [answer async for answer in stub.ServerReflectionInfo(asked)]
    assert answers[0].list_services_response.service
