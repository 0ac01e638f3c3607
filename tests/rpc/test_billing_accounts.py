"""yandex.cloud.billing.v1.BillingAccountService, as callers see it."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import billing_account_service_pb2 as accounts
from yandex.cloud.billing.v1 import customer_pb2, customer_service_pb2

from server.config import Settings
from server.domain.access import Role
from tests.rpc.conftest import Api


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"country": "KZ", "currency": "KZT"})


async def create(api: Api, reseller: str = "reseller-1", who: str = "writer") -> str:
    made = await api.customers.CreateResellerServed(
        customer_service_pb2.CreateResellerServedCustomerRequest(
            reseller_id=reseller, name="A customer", person=customer_pb2.CustomerPerson(name="P")
        ),
        metadata=api.as_(who),
    )
    found = customer_pb2.Customer()
    assert made.response.Unpack(found)
    return found.billing_account_id


async def get(api: Api, who: str, id_: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.accounts.Get(accounts.GetBillingAccountRequest(id=id_), metadata=api.as_(who))
    return refused.value.code(), refused.value.details() or ""


async def test_both_kinds_of_accounts_are_shown(api: Api) -> None:
    made = await create(api)
    for id_, name in ((made, "A customer"), ("reseller-1", "A reseller")):
        found = await api.accounts.Get(
            accounts.GetBillingAccountRequest(id=id_), metadata=api.as_("reader")
        )
        assert (found.id, found.name, found.active, found.balance) == (id_, name, True, "0")
        assert (found.country_code, found.currency) == ("KZ", "KZT")
        assert found.created_at.ToJsonString()


async def test_rights_come_before_existence(api: Api) -> None:
    made, unknown = await create(api), "bac00000000000000000"
    denied, missing = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND
    for id_ in (made, "reseller-1"):
        assert (await get(api, "foreigner", id_))[0] is denied
    for id_ in (made, "reseller-1", unknown, "", "x" * 51):
        assert (await get(api, "nobody", id_))[0] is denied
    assert await get(api, "reader", unknown) == (
        missing,
        "There is no such billing account; check its ID.",
    )
    for id_, wrong in (("", "id: Required."), ("x" * 51, "id: Must be <=50 characters long.")):
        code, message = await get(api, "reader", id_)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert wrong in message


@pytest.mark.parametrize("who", ["foreigner", "nobody"])
async def test_names_of_resellers_can_not_be_guessed(api: Api, who: str) -> None:
    """Operators choose them: the answer is the same whether or not there is such a reseller."""
    binding = access_pb2.AccessBinding(
        role_id=Role.VIEWER, subject=access_pb2.Subject(id="s", type="userAccount")
    )
    delta = access_pb2.AccessBindingDelta(action=access_pb2.ADD, access_binding=binding)
    calls: tuple[Callable[[str], Awaitable[Any]], ...] = (
        lambda id_: api.accounts.Get(
            accounts.GetBillingAccountRequest(id=id_), metadata=api.as_(who)
        ),
        lambda id_: api.accounts.ListAccessBindings(
            access_pb2.ListAccessBindingsRequest(resource_id=id_), metadata=api.as_(who)
        ),
        lambda id_: api.accounts.UpdateAccessBindings(
            access_pb2.UpdateAccessBindingsRequest(resource_id=id_, access_binding_deltas=[delta]),
            metadata=api.as_(who),
        ),
    )
    for call in calls:
        answers = []
        for id_ in ("reseller-1", "reseller-9", "horns-and-hooves"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(id_)
            answers.append((refused.value.code(), refused.value.details()))
        assert answers[0][0] is grpc.StatusCode.PERMISSION_DENIED
        assert len(set(answers)) == 1


async def test_a_list_shows_what_the_caller_may_read(api: Api) -> None:
    first, second = await create(api), await create(api)
    foreign = await create(api, "reseller-2", "foreigner")
    found, token = [], ""
    while True:
        page = await api.accounts.List(
            accounts.ListBillingAccountsRequest(page_size=2, page_token=token),
            metadata=api.as_("reader"),
        )
        found += [account.id for account in page.billing_accounts]
        last, token = token, page.next_page_token
        if not token:
            break
    assert found == ["reseller-1", second, first]
    theirs = await api.accounts.List(
        accounts.ListBillingAccountsRequest(), metadata=api.as_("foreigner")
    )
    assert [account.id for account in theirs.billing_accounts] == ["reseller-2", foreign]
    for who, request, code in (
        ("foreigner", {"page_token": last}, grpc.StatusCode.INVALID_ARGUMENT),
        ("reader", {"page_token": "made up"}, grpc.StatusCode.INVALID_ARGUMENT),
        ("reader", {"page_size": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ("reader", {"page_size": 1001}, grpc.StatusCode.INVALID_ARGUMENT),
        ("nobody", {}, grpc.StatusCode.PERMISSION_DENIED),
        ("nobody", {"page_size": 1001}, grpc.StatusCode.PERMISSION_DENIED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await api.accounts.List(
                accounts.ListBillingAccountsRequest(**request), metadata=api.as_(who)
            )
        assert refused.value.code() is code, (who, request)


@pytest.mark.parametrize(
    "tin",
    ["7707083893", "DE136695976", "ATU12345678", "FR 7H 123456789", "CHE-123.456.789 MWST",
     "12-3456789", "ИНН 7707083893", "١٢٣٤٥٦٧٨٩", "A" * 64],
)  # fmt: skip
async def test_tax_numbers_of_many_countries_and_phonewords_are_taken(api: Api, tin: str) -> None:
    for phone in ("+1-800-FLOWERS", "+7 495 123-45-67"):
        person = customer_pb2.CustomerPerson(name="P", tin=tin, phone=phone)
        made = await api.customers.CreateResellerServed(
            customer_service_pb2.CreateResellerServedCustomerRequest(
                reseller_id="reseller-1", name="A customer", person=person
            ),
            metadata=api.as_("writer"),
        )
        assert made.done
    person.tin = "A" * 65
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.customers.CreateResellerServed(
            customer_service_pb2.CreateResellerServedCustomerRequest(
                reseller_id="reseller-1", name="A customer", person=person
            ),
            metadata=api.as_("writer"),
        )
    assert "person.tin: Must be <=64 characters long." in (refused.value.details() or "")
