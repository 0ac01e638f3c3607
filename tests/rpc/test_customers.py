"""yandex.cloud.billing.v1.CustomerService but for Invite: by gRPC, on a real database."""

import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from yandex.cloud.billing.v1 import customer_pb2, customer_service_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from server.domain.access import Actor
from server.domain.invitations import invite
from tests.rpc.conftest import Api

PERSON = customer_service_pb2.CustomerPerson(name="Остап")
CHANGES = ("Activate", "Suspend")


def created_request(**changes: Any) -> customer_service_pb2.CreateResellerServedCustomerRequest:
    return customer_service_pb2.CreateResellerServedCustomerRequest(
        **{"reseller_id": "reseller-1", "name": "Рога", "person": PERSON, **changes}
    )


async def create(api: Api, **headers: str) -> operation_pb2.Operation:
    made: operation_pb2.Operation = await api.customers.CreateResellerServed(
        created_request(), metadata=api.as_("writer", **headers)
    )
    return made


def customer(operation: operation_pb2.Operation) -> customer_pb2.Customer:
    """Checks what each of these operations shows and returns its customer."""
    about, found = customer_service_pb2.CustomerMetadata(), customer_pb2.Customer()
    assert operation.done
    assert operation.metadata.Unpack(about)
    assert operation.response.Unpack(found)
    assert (about.reseller_id, about.customer_id) == ("reseller-1", found.id)
    assert found.billing_account_id
    assert 0 < len(operation.description) <= 256
    return found


async def change(
    api: Api, method: str, customer_id: str, who: str = "writer"
) -> operation_pb2.Operation:
    request_type = {
        "Activate": customer_service_pb2.ActivateCustomerRequest,
        "Suspend": customer_service_pb2.SuspendCustomerRequest,
    }[method]
    changed: operation_pb2.Operation = await getattr(api.customers, method)(
        request_type(customer_id=customer_id), metadata=api.as_(who)
    )
    return changed


async def list_(
    api: Api, who: str = "reader", **fields: Any
) -> customer_service_pb2.ListCustomersResponse:
    page: customer_service_pb2.ListCustomersResponse = await api.customers.List(
        customer_service_pb2.ListCustomersRequest(**{"reseller_id": "reseller-1", **fields}),
        metadata=api.as_(who),
    )
    return page


def info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    found = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(found)
    return found


async def test_a_reseller_served_customer_is_there_at_once(api: Api) -> None:
    made = await create(api)
    both = [
        await api.operations.Get(
            operation_service_pb2.GetOperationRequest(operation_id=made.id),
            metadata=api.as_("reader"),
        ),
        made,
    ]
    assert both[0] == both[1]
    assert [each.id for each in (await list_(api)).customers] == [customer(made).id]
    assert made.created_by == "writer"


async def test_a_repeat_with_the_same_key_creates_one_customer(api: Api) -> None:
    key = str(uuid.uuid4())
    made = [await create(api, idempotency_key=key) for _ in range(2)]
    assert made[0] == made[1]
    assert len((await list_(api)).customers) == 1


@pytest.mark.parametrize("method", CHANGES)
async def test_changes_can_be_repeated(api: Api, method: str) -> None:
    found = customer(await create(api))
    operations = [await change(api, method, found.id) for _ in range(2)]
    assert [customer(operation) for operation in operations] == [found, found]
    assert operations[0].id != operations[1].id


@pytest.mark.parametrize("method", CHANGES)
async def test_an_invited_customer_has_to_accept_first(api: Api, method: str) -> None:
    new = invite(
        reseller_id="reseller-1",
        name="N",
        email="a@example.com",
        person={},
        actor=Actor("writer"),
        now=api.clock(),
        lifetime=timedelta(days=1),
    )
    await api.storage.invitations.create_invitation(new, None)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await change(api, method, new.customer.id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "acceptance_required" in str(refused.value.details())
    assert info(refused.value).metadata["state"] == "acceptance_required"


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(
    ("who", "exists", "code"),
    [
        ("writer", False, grpc.StatusCode.NOT_FOUND),
        ("reader", True, grpc.StatusCode.PERMISSION_DENIED),
        ("reader", False, grpc.StatusCode.PERMISSION_DENIED),
        ("foreigner", True, grpc.StatusCode.PERMISSION_DENIED),
        ("nobody", True, grpc.StatusCode.PERMISSION_DENIED),
        ("nobody", False, grpc.StatusCode.PERMISSION_DENIED),
        ("unknown", True, grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_permission_is_checked_before_the_fields(
    api: Api, method: str, who: str, exists: bool, code: grpc.StatusCode
) -> None:
    id_ = customer(await create(api)).id if exists else "bcu00000000000000000"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await change(api, method, id_, who)
    assert refused.value.code() is code


@pytest.mark.parametrize("reseller", ["reseller-2", "reseller-3"])
async def test_resellers_of_others_are_denied_whether_or_not_they_exist(
    api: Api, reseller: str
) -> None:
    for call in (
        list_(api, "writer", reseller_id=reseller),
        api.customers.CreateResellerServed(
            created_request(reseller_id=reseller), metadata=api.as_("writer")
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"name": ""}, "name"),
        ({"person": None}, "person"),
        ({"reseller_id": ""}, "reseller_id"),
        ({"reseller_id": "Reseller_1"}, "reseller_id"),
        ({"reseller_id": "r" * 51}, "reseller_id"),
    ],
)
async def test_wrong_fields_are_named(api: Api, request_: dict[str, Any], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.customers.CreateResellerServed(
            created_request(**request_), metadata=api.as_("writer")
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(refused.value.details())


@pytest.mark.parametrize(
    "reseller",
    ["a1", "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", f"0a1b2c3d-0a1b-0a1b-0a1b-{'0' * 26}abcdef"],
)
async def test_all_forms_of_reseller_ids_pass_validation(api: Api, reseller: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.customers.CreateResellerServed(
            created_request(reseller_id=reseller), metadata=api.as_("writer")
        )
    # 8-4-4-4-32 is longer than the 50 characters that the length allows.
    too_long = len(reseller) > 50
    expected = "INVALID_ARGUMENT" if too_long else "PERMISSION_DENIED"
    assert refused.value.code().name == expected


async def test_lists_are_paged_newest_first(api: Api) -> None:
    made = []
    for _ in range(5):
        api.clock.advance(timedelta(microseconds=1))
        made.append(customer(await create(api)))
    first = await list_(api, page_size=2)
    assert len(first.next_page_token) <= 100
    api.clock.advance(timedelta(seconds=1))
    await create(api)
    second = await list_(api, page_size=2, page_token=first.next_page_token)
    third = await list_(api, page_size=2, page_token=second.next_page_token)
    pages = [first, second, third]
    assert [each for page in pages for each in page.customers] == made[::-1]
    assert third.next_page_token == ""


async def test_a_bad_page_size_or_token_is_refused(api: Api) -> None:
    for fields in ({"page_token": "x" * 101}, {"page_size": 1001}, {"page_size": -1}):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await list_(api, **fields)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, fields


async def test_a_page_holds_a_hundred_unless_asked(api: Api) -> None:
    for _ in range(101):
        await create(api)
    assert len((await list_(api)).customers) == 100
    assert len((await list_(api, page_size=1000)).customers) == 101
