"""billing.v1.ListCustomers: filters and order, and what is refused of them."""

from typing import Any

import grpc
import pytest
from billing.v1 import customer_service_pb2, event_service_pb2, invitation_service_pb2
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_customer_changes import PARENT, create, invite
from tests.rpc.test_invitations import detail

Code = grpc.StatusCode


def listed(api: Api, **fields: Any) -> Any:
    return api.google_customers.ListCustomers(
        customer_service_pb2.ListCustomersRequest(parent=PARENT, **fields),
        metadata=api.as_("reader"),
    )


async def found(api: Api, **fields: Any) -> list[str]:
    return [each.display_name for each in (await listed(api, **fields)).customers]


async def test_customers_are_found_by_what_they_show(api: Api) -> None:
    gold, _ = (
        await create(api, display_name="Gold", labels={"tier": "gold"}, external_id="A 1"),
        await create(api, display_name="None"),
    )
    await invite(api, display_name="Invited", email="User@пример.рф")
    for filter_, names in {
        "labels:tier": ["Gold"],
        'external_id = "A 1"': ["Gold"],
        "state = ACTIVE": ["None", "Gold"],
        "email = USER@пример.рф": ["Invited"],
        f"billingAccountId = {gold.billing_account_id}": ["Gold"],
        "person.tin = 7700000000 AND -email:*": ["None", "Gold"],
        "deleteTime:*": [],
    }.items():
        assert await found(api, filter=filter_) == names, filter_
    assert await found(api, order_by="create_time asc") == ["Gold", "None", "Invited"]


@pytest.mark.parametrize(
    ("field", "written", "says"),
    [
        ("filter", "state = DONE", "state must be one of"),
        ("filter", "name = x", "no field name"),
        ("filter", "labels = x", "labels.key"),
        ("filter", "email = x", "must be an e-mail address"),
        ("filter", "createTime > yesterday", "must be a time"),
        ("filter", "x" * 100_000, "2048"),
        ("filter", "labels:a " * 120, "at most 300"),
        ("filter", "(" * 1000 + "labels:a" + ")" * 1000, "10 deep"),
        ("order_by", "display_name", "create_time"),
        ("order_by", "create_time, name", "create_time"),
        ("order_by", "create_time DESC", "create_time desc"),
        ("order_by", "x" * 101, "100"),
    ],
)
async def test_what_a_list_does_not_know_is_named(
    api: Api, field: str, written: str, says: str
) -> None:
    code, _, status = await refusal(listed(api, **{field: written}))
    assert code is Code.INVALID_ARGUMENT
    (violation,) = detail(status, error_details_pb2.BadRequest).field_violations
    assert violation.field == field
    assert says in violation.description


async def test_one_refusal_names_all_that_is_wrong(api: Api) -> None:
    wrong: dict[str, Any] = {"page_size": -1, "filter": "x = y"}
    more: dict[str, Any] = {"parent": PARENT, "order_by": "name"}
    for call, request in (
        (
            api.google_customers.ListCustomers,
            customer_service_pb2.ListCustomersRequest(**wrong, **more),
        ),
        (
            api.invitations.ListInvitations,
            invitation_service_pb2.ListInvitationsRequest(**wrong, **more),
        ),
        (api.events.ListEvents, event_service_pb2.ListEventsRequest(parent=PARENT, **wrong)),
        (api.longrunning.ListOperations, operations_pb2.ListOperationsRequest(**wrong)),
    ):
        _, _, status = await refusal(call(request, metadata=api.as_("reader")))
        named = [
            each.field for each in detail(status, error_details_pb2.BadRequest).field_violations
        ]
        expected = (
            [*wrong, "order_by"] if "order_by" in request.DESCRIPTOR.fields_by_name else wrong
        )
        assert sorted(named) == sorted(expected)
