"""Page tokens of every list, through the API: each leads on in its own list and nowhere else."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import grpc
import pytest
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import invitation_service_pb2
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.billing.v1 import customer_service_pb2 as customers

from server.domain.access import Role, hash_token
from tests.rpc.conftest import Api
from tests.rpc.test_calls import refusal, request

FIRST, SECOND = "reseller-1", "reseller-2"
# May read both resellers.
READER = "auditor"


class Page(NamedTuple):
    """What a page holds, by ID or name, and the next page's token."""

    found: list[str]
    token: str


class Wanted(NamedTuple):
    """A page to ask for."""

    reseller_id: str = FIRST
    token: str = ""
    filter: str = ""
    size: int = 2
    order: str = ""


List = Callable[[Api, Wanted, str], Awaitable[Page]]


async def published_customers(api: Api, wanted: Wanted, who: str) -> Page:
    answer = await api.customers.List(
        customers.ListCustomersRequest(
            reseller_id=wanted.reseller_id, page_size=wanted.size, page_token=wanted.token
        ),
        metadata=api.as_(who),
    )
    return Page([each.id for each in answer.customers], answer.next_page_token)


async def google_style_customers(api: Api, wanted: Wanted, who: str) -> Page:
    answer = await api.google_customers.ListCustomers(
        google_customers.ListCustomersRequest(
            parent=f"resellers/{wanted.reseller_id}",
            filter=wanted.filter,
            order_by=wanted.order,
            page_size=wanted.size,
            page_token=wanted.token,
        ),
        metadata=api.as_(who),
    )
    return Page([each.name for each in answer.customers], answer.next_page_token)


async def invitations(api: Api, wanted: Wanted, who: str) -> Page:
    answer = await api.invitations.ListInvitations(
        invitation_service_pb2.ListInvitationsRequest(
            parent=f"resellers/{wanted.reseller_id}",
            filter=wanted.filter,
            order_by=wanted.order,
            page_size=wanted.size,
            page_token=wanted.token,
        ),
        metadata=api.as_(who),
    )
    return Page([each.name for each in answer.invitations], answer.next_page_token)


async def operations(api: Api, wanted: Wanted, who: str) -> Page:
    answer = await api.longrunning.ListOperations(
        operations_pb2.ListOperationsRequest(
            name="operations",
            filter=wanted.filter,
            page_size=wanted.size,
            page_token=wanted.token,
        ),
        metadata=api.as_(who),
    )
    return Page([each.name for each in answer.operations], answer.next_page_token)


LISTS: dict[str, List] = {
    each.__name__: each
    for each in (published_customers, google_style_customers, invitations, operations)
}
# Of one kind of thing, whatever the dialect.
KINDS = {"published_customers": "customers", "google_style_customers": "customers"}
OF_RESELLERS = [name for name in LISTS if name != "operations"]
FILTERS = {
    "google_style_customers": ("state = ACCEPTANCE_REQUIRED", "email:*", "state = ACTIVE"),
    "invitations": ("state = PENDING", 'email = "a1@example.com"', "state = ACCEPTED"),
    "operations": ("done = false", "done = true"),
}


@pytest.fixture
async def invited(api: Api) -> Api:
    """Three invitations of each reseller."""
    for reseller_id in (FIRST, SECOND):
        await api.storage.administration.grant_role(READER, reseller_id, Role.VIEWER, api.clock())
        for number in range(3):
            who = "writer" if reseller_id == FIRST else "foreigner"
            body = request(
                reseller_id=reseller_id, invitation_email=f"a{number}@{reseller_id}.example.com"
            )
            await api.customers.Invite(body, metadata=api.as_(who))
            api.clock.advance(timedelta(seconds=1))
    await api.storage.administration.add_access_token(
        hash_token(f"{READER}-token"), READER, api.clock(), None
    )
    return api


async def check_refused(call: Awaitable[Page]) -> None:
    """Checks that the token alone is named as wrong."""
    code, _, status = await refusal(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert _fields(status) == ["page_token"]


def _fields(status: status_pb2.Status) -> Sequence[str]:
    found = error_details_pb2.BadRequest()
    assert any(each.Unpack(found) for each in status.details)
    return [each.field for each in found.field_violations]


@pytest.mark.parametrize("name", LISTS)
async def test_tokens_lead_through_the_whole_list(invited: Api, name: str) -> None:
    whole = await LISTS[name](invited, Wanted(size=100), READER)
    assert len(whole.found) == (6 if name == "operations" else 3)
    assert whole.token == ""
    paged: list[str] = []
    token = ""
    while True:
        page = await LISTS[name](invited, Wanted(token=token, size=1), READER)
        paged += page.found
        token = page.token
        if not token:
            break
        assert len(token) <= 100
    assert paged == whole.found


@pytest.mark.parametrize("name", OF_RESELLERS)
async def test_a_token_is_not_good_for_another_resellers_list(invited: Api, name: str) -> None:
    """Even for who may read both."""
    for own, other in ((FIRST, SECOND), (SECOND, FIRST)):
        token = (await LISTS[name](invited, Wanted(own), READER)).token
        assert (await LISTS[name](invited, Wanted(own, token), READER)).found
        await check_refused(LISTS[name](invited, Wanted(other, token), READER))


async def test_a_token_of_operations_is_not_good_for_another_caller(invited: Api) -> None:
    """A caller's list is of all its resellers."""
    for own, other in ((READER, "foreigner"), ("foreigner", READER), ("writer", "foreigner")):
        token = (await operations(invited, Wanted(), own)).token
        assert (await operations(invited, Wanted(token=token), own)).found
        await check_refused(operations(invited, Wanted(token=token), other))


@pytest.mark.parametrize("name", FILTERS)
async def test_a_token_is_not_good_for_another_filter(invited: Api, name: str) -> None:
    for filter_ in ("", FILTERS[name][0]):
        token = (await LISTS[name](invited, Wanted(filter=filter_), READER)).token
        assert (await LISTS[name](invited, Wanted(token=token, filter=filter_), READER)).found
        for other in {"", *FILTERS[name]} - {filter_}:
            await check_refused(LISTS[name](invited, Wanted(token=token, filter=other), READER))


@pytest.mark.parametrize("name", ["google_style_customers", "invitations"])
async def test_a_token_is_not_good_for_another_order(invited: Api, name: str) -> None:
    newest, oldest = "create_time desc", "create_time"
    token = (await LISTS[name](invited, Wanted(order=newest), READER)).token
    for same in (newest, "", "createTime  desc"):
        assert (await LISTS[name](invited, Wanted(token=token, order=same), READER)).found
    await check_refused(LISTS[name](invited, Wanted(token=token, order=oldest), READER))
    token = (await LISTS[name](invited, Wanted(order=oldest), READER)).token
    await check_refused(LISTS[name](invited, Wanted(token=token), READER))


@pytest.mark.parametrize("name", LISTS)
async def test_a_token_is_not_good_for_a_list_of_other_things(invited: Api, name: str) -> None:
    token = (await LISTS[name](invited, Wanted(), READER)).token
    assert (await LISTS[name](invited, Wanted(token=token), READER)).found
    for other in LISTS:
        if KINDS.get(other, other) != KINDS.get(name, name):
            await check_refused(LISTS[other](invited, Wanted(token=token), READER))


def _damaged(token: str) -> dict[str, str]:
    middle = len(token) // 2
    swapped = "A" if token[middle] != "A" else "B"
    return {
        "cut short": token[:-1],
        "longer": token + "A",
        "another character": token[:middle] + swapped + token[middle + 1 :],
        "its end alone": token[middle:],
        "made up": "x" * len(token),
        "padded": token + "=",
        "beyond ASCII": "ж" * len(token),
    }


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("damage", _damaged("0123456789"))
async def test_a_damaged_token_is_refused(invited: Api, name: str, damage: str) -> None:
    token = (await LISTS[name](invited, Wanted(), READER)).token
    assert (await LISTS[name](invited, Wanted(token=token), READER)).found
    await check_refused(LISTS[name](invited, Wanted(token=_damaged(token)[damage]), READER))


def test_every_list_of_the_contract_is_here() -> None:
    """A list that is added later gets its tokens tested too."""
    from google.protobuf.descriptor_pool import Default

    found = set()
    for service in (
        "yandex.cloud.billing.v1.CustomerService",
        "billing.v1.CustomerService",
        "billing.v1.InvitationService",
        "google.longrunning.Operations",
        "yandex.cloud.operation.OperationService",
        "yandex.cloud.endpoint.ApiEndpointService",
    ):
        found |= {
            method.full_name
            for method in Default().FindServiceByName(service).methods
            if "page_token" in method.input_type.fields_by_name
        }
    # The list of endpoints is always whole, and gives no token.
    found.discard("yandex.cloud.endpoint.ApiEndpointService.List")
    assert len(found) == len(LISTS), found
