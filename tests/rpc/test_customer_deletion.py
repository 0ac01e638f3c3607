"""billing.v1.CustomerService: suspending, activating, deleting and undeleting customers."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from billing.v1 import customer_pb2, customer_service_pb2, invitation_pb2
from google.rpc import error_details_pb2

from server.config import Settings
from server.storage.check import check
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal
from tests.rpc.test_customer_changes import PARENT, create, get, invite, types, update
from tests.rpc.test_invitations import LEASE, accept, detail, listed, sent

Code = grpc.StatusCode
REQUESTS: dict[str, Any] = {
    "Delete": customer_service_pb2.DeleteCustomerRequest,
    "Undelete": customer_service_pb2.UndeleteCustomerRequest,
    "Suspend": customer_service_pb2.SuspendCustomerRequest,
    "Activate": customer_service_pb2.ActivateCustomerRequest,
}


def do(api: Api, verb: str, name: str, who: str = "writer", key: str = "", **fields: Any) -> Any:
    return getattr(api.google_customers, f"{verb}Customer")(
        REQUESTS[verb](name=name, **fields),
        metadata=api.as_(who, **({"idempotency_key": key} if key else {})),
    )


async def names(api: Api, **fields: Any) -> list[str]:
    page = await api.google_customers.ListCustomers(
        customer_service_pb2.ListCustomersRequest(parent=PARENT, **fields),
        metadata=api.as_("reader"),
    )
    return [each.name for each in page.customers]


@pytest.fixture(autouse=True)
async def consistent(api: Api, settings: Settings) -> AsyncIterator[None]:
    yield
    assert [each for each in check(settings.database) if each.count] == []


async def test_suspending_and_activating_answer_with_the_customer(api: Api) -> None:
    made = await create(api)
    suspended = await do(api, "Suspend", made.name, validate_only=True)
    assert suspended.state == customer_pb2.Customer.SUSPENDED
    assert await get(api, made.name) == made
    suspended = await do(api, "Suspend", made.name, etag=made.etag)
    assert suspended == await get(api, made.name)
    assert suspended.state == customer_pb2.Customer.SUSPENDED
    code, reason, _ = await refusal(do(api, "Activate", made.name, etag=made.etag))
    assert (code, reason) == (Code.ABORTED, "ETAG_STALE")
    active = await do(api, "Activate", made.name)
    assert active.state == customer_pb2.Customer.ACTIVE
    assert await types(api) == ["customer.created", "customer.suspended", "customer.activated"]


async def test_a_deleted_customer_can_be_taken_back(api: Api) -> None:
    made = await create(api, external_id="A-1")
    await do(api, "Delete", made.name, validate_only=True)
    assert await get(api, made.name) == made
    code, reason, _ = await refusal(do(api, "Undelete", made.name))
    assert (code, reason) == (Code.ALREADY_EXISTS, "CUSTOMER_NOT_DELETED")
    code, reason, _ = await refusal(do(api, "Delete", made.name, etag="stale"))
    assert (code, reason) == (Code.ABORTED, "ETAG_STALE")
    deleted = await do(api, "Delete", made.name, etag=made.etag)
    assert deleted.state == customer_pb2.Customer.DELETED
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86_400
    assert deleted == await get(api, made.name)
    assert (await names(api), await names(api, show_deleted=True)) == ([], [made.name])
    code, _, _ = await refusal(do(api, "Delete", made.name))
    assert code is Code.NOT_FOUND
    assert await do(api, "Delete", made.name, allow_missing=True) == deleted
    for call in (do(api, "Suspend", made.name), update(api, name=made.name, display_name="B")):
        code, reason, _ = await refusal(call)
        assert (code, reason) == (Code.FAILED_PRECONDITION, "CUSTOMER_STATE")
    back = await do(api, "Undelete", made.name)
    assert (back.state, back.external_id) == (customer_pb2.Customer.ACTIVE, "A-1")
    assert not back.HasField("delete_time")
    assert await names(api) == [made.name]
    told = ["customer.created", "customer.deleted", "customer.undeleted"]
    assert await types(api) == told


async def test_a_pending_invitation_is_cancelled_for_good(api: Api) -> None:
    made = await sent(api, invitation_email="a@example.com")
    deleted = await do(api, "Delete", made.customer)
    assert deleted.state == customer_pb2.Customer.DELETED
    code, _, _ = await refusal(accept(api, made.token))
    assert code is Code.FAILED_PRECONDITION
    (invitation,) = (await listed(api)).invitations
    assert invitation.state == invitation_pb2.Invitation.REVOKED
    # The address is free again; taken, it keeps the customer from coming back.
    person = (await get(api, made.customer)).person
    api.clock.advance(timedelta(seconds=1))
    await invite(api, email="a@example.com", person=person)
    code, reason, status = await refusal(do(api, "Undelete", made.customer))
    assert (code, reason) == (Code.ALREADY_EXISTS, "ADDRESS_TAKEN")
    holder = detail(status, error_details_pb2.ErrorInfo).metadata["customer"]
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    await api.storage.mail.finish_delivery(delivery, api.clock())
    await do(api, "Delete", holder)
    back = await do(api, "Undelete", made.customer)
    assert back.state == customer_pb2.Customer.INACTIVE
    code, _, _ = await refusal(accept(api, made.token))
    assert code is Code.FAILED_PRECONDITION


async def test_an_e_mail_on_its_way_is_waited_for(api: Api) -> None:
    await invite(api, email="a@example.com")
    (name,) = await names(api)
    (delivery,) = await api.storage.mail.claim_deliveries(10, api.clock(), LEASE)
    code, reason, status = await refusal(do(api, "Delete", name))
    assert (code, reason) == (Code.ABORTED, "MAIL_UNDER_WAY")
    assert detail(status, error_details_pb2.RetryInfo).retry_delay.ToSeconds() == 1
    await api.storage.mail.finish_delivery(delivery, api.clock())
    await do(api, "Delete", name)


async def test_an_e_mail_that_waits_is_not_sent(api: Api) -> None:
    begun = await invite(api, email="a@example.com")
    (name,) = await names(api)
    await do(api, "Delete", name)
    assert await api.storage.mail.claim_deliveries(10, api.clock(), LEASE) == []
    ended = await api.storage.operations.get_operation(begun.name.removeprefix("operations/"))
    assert ended and ended.failure and ended.failure.reason == "INVITATION_STATE"
    assert await names(api, show_deleted=True) == [name]


async def test_an_external_id_taken_meanwhile_keeps_it_deleted(api: Api) -> None:
    made = await create(api, external_id="A-1")
    await do(api, "Delete", made.name)
    other = await create(api, external_id="A-1")
    code, reason, status = await refusal(do(api, "Undelete", made.name))
    assert (code, reason) == (Code.ALREADY_EXISTS, "EXTERNAL_ID_TAKEN")
    assert detail(status, error_details_pb2.ErrorInfo).metadata["customer"] == other.name


async def test_a_key_deletes_once(api: Api) -> None:
    made, key = await create(api), str(uuid.uuid4())
    await do(api, "Delete", made.name, key=key)
    back = await do(api, "Undelete", made.name)
    assert await do(api, "Delete", made.name, key=key) == back


async def test_purged_customers_are_gone_and_their_operations_name_them(api: Api) -> None:
    made, kept = await create(api), await create(api)
    await do(api, "Suspend", made.name)
    await do(api, "Delete", made.name)
    now = api.clock()
    assert await api.storage.retention.purge_customers(now + timedelta(days=29), 10) == 0
    assert await api.storage.retention.purge_customers(now + timedelta(days=30, seconds=1), 10) == 1
    assert await names(api, show_deleted=True) == [kept.name]
    code, _, _ = await refusal(do(api, "Undelete", made.name))
    assert code is Code.NOT_FOUND
    operations = (await api.storage.operations.list_operations([api.reseller], None, 10, None)).rows
    named = {each.record.customer_id for each in operations}
    assert made.name.rpartition("/")[2] in named


@pytest.mark.parametrize("verb", REQUESTS)
async def test_who_only_reads_changes_nothing_and_learns_nothing(api: Api, verb: str) -> None:
    made = await create(api)
    for who in ("reader", "foreigner", "nobody"):
        for name in (made.name, f"{PARENT}/customers/none"):
            code, reason, _ = await refusal(do(api, verb, name, who))
            assert (code, reason) == (Code.PERMISSION_DENIED, "PERMISSION_MISSING")
    for who, name in (
        ("writer", f"{PARENT}/customers/none"),
        ("foreigner", made.name.replace("reseller-1", "reseller-2")),
    ):
        code, _, _ = await refusal(do(api, verb, name, who))
        assert code is Code.NOT_FOUND
