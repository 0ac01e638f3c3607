"""Health and reflection, as grpcurl and other generic clients ask for them."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import _base as their_reflection
from grpc_reflection.v1alpha import reflection_pb2 as reflection

from tests.rpc.conftest import Api

VERSIONS = ("v1", "v1alpha")
SERVICES = {
    "billing.v1.BounceService",
    "billing.v1.CustomerService",
    "billing.v1.EventService",
    "billing.v1.EventStreamService",
    "billing.v1.InvitationPageService",
    "billing.v1.InvitationService",
    "billing.v1.SuppressionService",
    "billing.v1.WebhookService",
    "google.longrunning.Operations",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "yandex.cloud.billing.v1.BillingAccountService",
    "yandex.cloud.billing.v1.CustomerService",
    "yandex.cloud.endpoint.ApiEndpointService",
    "yandex.cloud.iam.v1.IamTokenService",
    "yandex.cloud.operation.OperationService",
}
BILLING = "yandex/cloud/billing/v1/"


async def ask(api: Api, version: str, **asked: Any) -> reflection.ServerReflectionResponse:
    """Asks for one thing. Both versions have the same messages on the wire."""

    async def requests() -> AsyncIterator[reflection.ServerReflectionRequest]:
        yield reflection.ServerReflectionRequest(**asked)

    method: Any = api.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection.ServerReflectionResponse.FromString,
    )
    answer: reflection.ServerReflectionResponse = await method(requests(), timeout=20).read()
    return answer


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_service_is_listed_and_described(api: Api, version: str) -> None:
    answer = await ask(api, version, list_services="")
    names = [service.name for service in answer.list_services_response.service]
    assert sorted(names) == sorted(SERVICES)
    for name in names:
        described = await ask(api, version, file_containing_symbol=name)
        first = FileDescriptorProto.FromString(
            described.file_descriptor_response.file_descriptor_proto[0]
        )
        package, _, service = name.rpartition(".")
        assert first.package == package
        assert service in {each.name for each in first.service}
        for method in next(each for each in first.service if each.name == service).method:
            same = await ask(api, version, file_containing_symbol=f"{name}.{method.name}")
            assert same.file_descriptor_response == described.file_descriptor_response


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("yandex.cloud.billing.v1.CustomerService.Invite", BILLING + "customer_service.proto"),
        ("yandex.cloud.billing.v1.InviteCustomerRequest", BILLING + "customer_service.proto"),
        (
            "yandex.cloud.billing.v1.InviteCustomerRequest.person",
            BILLING + "customer_service.proto",
        ),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc_health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc_health/v1/health.proto"),
        ("google.rpc.BadRequest.FieldViolation", "google/rpc/error_details.proto"),
        ("google.api.http", "google/api/annotations.proto"),
        ("yandex.cloud.operation.Operation.result", "yandex/cloud/operation/operation.proto"),
    ],
)
async def test_reflection_finds_every_symbol(
    api: Api, version: str, symbol: str, file: str
) -> None:
    answer = await ask(api, version, file_containing_symbol=symbol)
    files = answer.file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(files[0]).name == file
    assert answer.original_request.file_containing_symbol == symbol


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "symbol", ["yandex.cloud.billing.v1.CustomerService.Unknown", "Invite", "", ".", "а" * 1000]
)
async def test_unknown_symbols_are_not_found(api: Api, version: str, symbol: str) -> None:
    answer = await ask(api, version, file_containing_symbol=symbol)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("name", ["", *sorted(SERVICES)])
async def test_the_health_of_each_service_is_known(api: Api, name: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(api.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_health_of_all_services_is_listed(api: Api) -> None:
    described = await ask(api, "v1", file_containing_symbol="grpc.health.v1.Health.List")
    pool = DescriptorPool()
    for file in described.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(file)
    method = pool.FindMethodByName("grpc.health.v1.Health.List")
    call: Any = api.channel.unary_unary(
        "/grpc.health.v1.Health/List",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    listed = await call(GetMessageClass(method.input_type)(), timeout=20)
    assert {name: each.status for name, each in listed.statuses.items()} == dict.fromkeys(
        {"", *SERVICES}, health_pb2.HealthCheckResponse.SERVING
    )


async def test_the_health_of_another_service_is_not_known(api: Api) -> None:
    stub: Any = health_pb2_grpc.HealthStub(api.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(health_pb2.HealthCheckRequest(service="billing.v1.Nothing"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="billing.v1.Nothing"))
    seen = await watch.read()
    assert seen.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_what_is_asked_is_short(api: Api) -> None:
    """Each watch holds its request for as long as it lasts."""
    stub: Any = health_pb2_grpc.HealthStub(api.channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Watch(health_pb2.HealthCheckRequest(service="a" * 5000)).read()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_is_asked_again_is_not_described_anew(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A description takes a millisecond, and a stranger may ask for it in a hundred streams."""
    made: list[str] = []
    theirs: Any = their_reflection
    describe = theirs._file_descriptor_response

    def counted(descriptor: Any, request: Any) -> Any:
        made.append(descriptor.name)
        return describe(descriptor, request)

    monkeypatch.setattr(theirs, "_file_descriptor_response", counted)
    http = {"containing_type": "google.protobuf.MethodOptions", "extension_number": 72295728}
    for _ in range(2):
        for version in VERSIONS:
            for asked in (
                {"file_containing_symbol": "yandex.cloud.billing.v1.CustomerService.Invite"},
                {"file_containing_symbol": "yandex.cloud.billing.v1.CustomerService"},
                {"file_by_filename": BILLING + "customer_service.proto"},
                {"file_containing_extension": http},
            ):
                answer = await ask(api, version, **asked)
                assert answer.file_descriptor_response.file_descriptor_proto
    assert sorted(made) == sorted(set(made))
