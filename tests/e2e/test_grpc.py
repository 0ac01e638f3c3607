"""Native gRPC through the gateway and straight to the server, with real stubs and a stranger's client."""

import asyncio
import datetime
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import customer_service_pb2_grpc as google_customers_grpc
from google.api_core import exceptions, operation
from google.api_core.operations_v1 import OperationsClient
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status
from yandex.cloud.billing.v1 import (
    customer_pb2,
    customer_service_pb2,
    customer_service_pb2_grpc,
)
from yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc

from tests.inviting import in_our_words
from tests.service import Service, eventually


@pytest.fixture(scope="module", params=["gateway", "direct"])
def channel(request: pytest.FixtureRequest, service: Service) -> Iterator[grpc.Channel]:
    address = service.grpc if request.param == "direct" else service.rest.removeprefix("http://")
    with grpc.insecure_channel(address) as opened:
        yield opened


def published_request(
    service: Service, **changes: object
) -> customer_service_pb2.InviteCustomerRequest:
    body = service.invitation(**changes)
    return customer_service_pb2.InviteCustomerRequest(
        reseller_id=body["resellerId"],
        name=body["name"],
        invitation_email=body["invitationEmail"],
        person=customer_service_pb2.CustomerPerson(**body["person"]),
    )


def google_request(service: Service) -> google_customers.InviteCustomerRequest:
    return in_our_words(published_request(service))


def details(error: grpc.RpcError, kind: type) -> list[object]:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = []
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


def test_one_record_through_three_doors(service: Service, channel: grpc.Channel) -> None:
    begun = customer_service_pb2_grpc.CustomerServiceStub(channel).Invite(
        published_request(service), metadata=service.metadata
    )
    rest = service.finished(begun.id)
    published = operation_service_pb2_grpc.OperationServiceStub(channel).Get(
        operation_service_pb2.GetOperationRequest(operation_id=begun.id), metadata=service.metadata
    )
    google = operations_pb2_grpc.OperationsStub(channel).GetOperation(
        operations_pb2.GetOperationRequest(name=f"operations/{begun.id}"), metadata=service.metadata
    )
    assert google.name == f"operations/{published.id}"
    assert published.metadata == begun.metadata
    assert published.done and google.done and rest["done"]
    customer, about = customer_pb2.Customer(), customer_service_pb2.CustomerMetadata()
    assert published.response.Unpack(customer)
    assert published.metadata.Unpack(about)
    assert customer.id == about.customer_id == rest["response"]["id"]
    assert customer.billing_account_id == rest["response"]["billingAccountId"]
    assert about.reseller_id == service.resellerId
    assert published.created_by == rest["createdBy"]
    # The same record in the words of the other API.
    ours, about_ours = google_customer.Customer(), google_customers.InviteCustomerMetadata()
    assert google.response.Unpack(ours)
    assert google.metadata.Unpack(about_ours)
    parent = f"resellers/{service.resellerId}"
    assert ours.name == about_ours.customer == f"{parent}/customers/{customer.id}"
    assert about_ours.invitation == f"{parent}/invitations/inv{customer.id[3:]}"
    assert ours.billing_account_id == customer.billing_account_id


def test_google_api_cores_future(service: Service, channel: grpc.Channel) -> None:
    begun = google_customers_grpc.CustomerServiceStub(channel).InviteCustomer(
        google_request(service), metadata=service.metadata
    )
    future = operation.from_gapic(
        begun,
        OperationsClient(channel),
        google_customer.Customer,
        metadata_type=google_customers.InviteCustomerMetadata,
        grpc_metadata=list(service.metadata),
    )
    assert future.result(timeout=30).name == future.metadata.customer != ""
    assert future.exception(timeout=30) is None
    assert future.done()
    assert not future.cancel()


def test_google_operations_client(service: Service, channel: grpc.Channel) -> None:
    client = OperationsClient(channel)
    made = [
        google_customers_grpc.CustomerServiceStub(channel)
        .InviteCustomer(google_request(service), metadata=service.metadata)
        .name
        for _ in range(3)
    ]
    for name in made:
        service.finished(name.removeprefix("operations/"))
    metadata = list(service.metadata)
    listed = [
        each.name for each in client.list_operations("operations", "done=true", metadata=metadata)
    ]
    assert listed[:3] == made[::-1]
    assert client.get_operation(made[0], metadata=metadata).done
    client.cancel_operation(made[0], metadata=metadata)
    client.delete_operation(made[0], metadata=metadata)
    with pytest.raises(exceptions.NotFound):
        client.get_operation(made[0], metadata=metadata)


def test_list_pages_newest_first(service: Service, channel: grpc.Channel) -> None:
    stub = operations_pb2_grpc.OperationsStub(channel)
    made = [service.invite()["id"] for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = stub.ListOperations(
            operations_pb2.ListOperationsRequest(name="operations", page_size=2, page_token=token),
            metadata=service.metadata,
        )
        assert len(page.operations) <= 2
        assert len(page.next_page_token) <= 100
        seen += [each.name.removeprefix("operations/") for each in page.operations]
        token = page.next_page_token
        if not token or len(seen) >= 6:
            break
    assert seen[:5] == made[::-1]


def test_wait_ends_with_the_operation(service: Service, channel: grpc.Channel) -> None:
    stub = operations_pb2_grpc.OperationsStub(channel)
    name = f"operations/{service.invite()['id']}"
    waited = stub.WaitOperation(
        operations_pb2.WaitOperationRequest(name=name, timeout=duration_pb2.Duration(seconds=30)),
        metadata=service.metadata,
    )
    assert waited.done
    assert waited.response.value


@pytest.mark.parametrize(
    ("filter_", "page_size", "token", "field"),
    [
        ("state = 5", 0, "", "filter"),
        ("done = maybe", 0, "", "filter"),
        ("", -1, "", "page_size"),
        ("", 0, "no token", "page_token"),
    ],
)
def test_wrong_lists_are_refused(
    service: Service, channel: grpc.Channel, filter_: str, page_size: int, token: str, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        operations_pb2_grpc.OperationsStub(channel).ListOperations(
            operations_pb2.ListOperationsRequest(
                name="operations", filter=filter_, page_size=page_size, page_token=token
            ),
            metadata=service.metadata,
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = details(refused.value, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad.field_violations] == [field]  # type: ignore[attr-defined]


def test_errors_carry_their_details(service: Service, channel: grpc.Channel) -> None:
    stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Invite(
            customer_service_pb2.InviteCustomerRequest(),
            metadata=(*service.metadata, ("x-request-id", "my-request")),
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = details(refused.value, error_details_pb2.BadRequest)
    assert len(bad.field_violations) == 4  # type: ignore[attr-defined]
    (info,) = details(refused.value, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("FIELDS_INVALID", "billing.example.com")  # type: ignore[attr-defined]
    (request,) = details(refused.value, error_details_pb2.RequestInfo)
    assert request.request_id == "my-request"  # type: ignore[attr-defined]


def test_a_call_without_a_good_token_is_refused(service: Service, channel: grpc.Channel) -> None:
    stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
    for metadata in ((), (("authorization", "Bearer nope"),)):
        with pytest.raises(grpc.RpcError) as refused:
            stub.Invite(published_request(service), metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_text_that_is_not_utf8_is_invalid(service: Service, channel: grpc.Channel) -> None:
    send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/yandex.cloud.billing.v1.CustomerService/Invite"
    )
    with pytest.raises(grpc.RpcError) as refused:
        send(b"\x0a\x02\xff\xfe", metadata=service.metadata)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(refused.value, error_details_pb2.ErrorInfo)


def test_an_unknown_method_says_so(service: Service) -> None:
    with grpc.insecure_channel(service.grpc) as channel:
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/yandex.cloud.billing.v1.CustomerService/Invent"
        )
        with pytest.raises(grpc.RpcError) as refused:
            send(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert details(refused.value, error_details_pb2.ErrorInfo)


def test_health_and_reflection_need_no_identity(service: Service, channel: grpc.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    assert (
        stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    )
    names = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {
        "yandex.cloud.billing.v1.CustomerService",
        "yandex.cloud.operation.OperationService",
        "google.longrunning.Operations",
        "billing.v1.CustomerService",
        "grpc.health.v1.Health",
    } <= set(names)


async def test_fifty_calls_with_one_key_are_one(service: Service) -> None:
    request = published_request(service)
    metadata = (*service.metadata, ("idempotency-key", str(uuid.uuid4())))
    async with grpc.aio.insecure_channel(service.rest.removeprefix("http://")) as channel:
        stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
        answers = await asyncio.gather(
            *(stub.Invite(request, metadata=metadata) for _ in range(50))
        )
    assert len({answer.id for answer in answers}) == 1
    await asyncio.to_thread(service.finished, answers[0].id)
    mails = await asyncio.to_thread(eventually, lambda: service.mails_to(request.invitation_email))
    assert len(mails) == 1


def test_a_repeat_shows_the_operation_as_it_is_now(service: Service, channel: grpc.Channel) -> None:
    stub = customer_service_pb2_grpc.CustomerServiceStub(channel)
    request = published_request(service)
    metadata = (*service.metadata, ("idempotency-key", str(uuid.uuid4())))
    first = stub.Invite(request, metadata=metadata)
    service.finished(first.id)
    again = stub.Invite(request, metadata=metadata)
    assert (again.id, again.done) == (first.id, True)
    assert again.HasField("response")


def test_times_of_an_operation_are_of_the_call_to_the_microsecond(
    service: Service, channel: grpc.Channel
) -> None:
    before = datetime.datetime.now(datetime.UTC)
    begun = customer_service_pb2_grpc.CustomerServiceStub(channel).Invite(
        published_request(service), metadata=service.metadata
    )
    after = datetime.datetime.now(datetime.UTC)
    assert before <= begun.created_at.ToDatetime(datetime.UTC) <= after
    assert begun.modified_at.ToNanoseconds() >= begun.created_at.ToNanoseconds()
