"""Lists of customers by filter and order, on SQLite and PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from billing.v1 import customer_pb2, customer_service_pb2

from server.domain.customers import (
    Customer,
    CustomerList,
    CustomerState,
    create_reseller_served,
    finished_operation,
)
from server.domain.filters import Filter, matches
from server.domain.invitation_options import DeliveryMethod, InvitationOptions
from server.domain.invitations import invite
from server.domain.operations import OperationKind
from server.rpc.messages.customer_lists import wanted_customers
from server.rpc.messages.paging import Pages
from server.storage.customers.lists import CustomerPage, list_customers
from server.storage.sql.statements import Transaction
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, on_sqlite, query
from tests.storage.reading import RowsRead, numbers, slower_among_many, walk
from tests.storage.records import ACTOR, DAY, RESELLER, SECOND_RESELLER, START

NOON = "2030-01-01T12:00:05Z"
FILTERS = (
    *(f"state = {state.name}" for state in CustomerState),
    "state != ACTIVE",
    "NOT state = SUSPENDED",
    "state = ACTIVE OR state = INACTIVE",
    "NOT (state = ACTIVE OR labels:tier)",
    "state = ACTIVE AND labels.tier = gold",
    "labels:tier",
    "labels.tier:*",
    "labels:*",
    "labels.tier:gold",
    "labels.tier != gold",
    "-labels:tier",
    'externalId = "ext-3"',
    'external_id = "ext-4" AND state = DELETED',
    'externalId = ""',
    "externalId:*",
    "NOT externalId:*",
    "email = USER3@example.com",
    "email = user5@example.com OR email = user3@example.com",
    "email:*",
    'displayName = "Name 7"',
    "person.tin = 5",
    f"createTime > {NOON}",
    f"createTime <= {NOON} AND state = SUSPENDED",
    f"updateTime > {NOON}",
    "deleteTime:*",
    'externalId = "ext-3" AND labels.tier = silver',
)


def condition(text: str) -> Filter | None:
    """Returns the filter as callers write it."""
    request = customer_service_pb2.ListCustomersRequest(parent=f"resellers/{RESELLER}", filter=text)
    return wanted_customers(request).filter_


async def make(storage: SqlStorage, number: int, reseller_id: str = RESELLER) -> Customer:
    """Makes one of every kind in turn: invited, active, suspended, inactive, deleted."""
    now = START + timedelta(seconds=number)
    external_id = f"ext-{number}" if number % 3 == 0 or number % 5 == 4 else None
    labels = ({}, {"tier": "gold"}, {"tier": "silver", "région": ""}, {"x-1": "y"})[number % 4]
    common: dict[str, Any] = {
        "reseller_id": reseller_id,
        "name": f"Name {number}",
        "actor": ACTOR,
        "now": now,
    }
    if number % 5 in (0, 3):
        invited = invite(
            **common,
            email=f"user{number}@example.com",
            person={"tin": str(number)},
            lifetime=DAY,
            options=InvitationOptions(method=DeliveryMethod.LINK),
            external_id=external_id,
            labels=labels,
        )
        await storage.invitations.create_invitation(invited, None)
        customer = invited.customer
        if number % 5 == 3:
            await storage.invitations.revoke_invitation(invited.invitation.id, now, ACTOR, None)
    else:
        created = create_reseller_served(
            **common, person={"tin": str(number)}, external_id=external_id, labels=labels
        )
        await storage.customers.create_customer(created, None)
        customer = created.customer
        if number % 5 == 2:
            suspension = finished_operation(OperationKind.SUSPEND, customer, "s", now + DAY)
            await storage.customers.change_customer_state(suspension, ACTOR, None)
        if number % 5 == 4:
            await storage.customers.delete_customer(reseller_id, customer.id, "", now, ACTOR, None)
    found = await storage.customers.get_customer(customer.id)
    assert found
    return found


@pytest.fixture
async def made(storage: SqlStorage) -> Sequence[Customer]:
    """Thirty customers, oldest first, with another reseller's between them."""
    several = []
    for number in range(30):
        several.append(await make(storage, number))
        if number % 10 == 0:
            await make(storage, number, SECOND_RESELLER)
    return several


async def test_each_filter_finds_what_meets_it_in_either_order(
    storage: SqlStorage, made: Sequence[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {each.state for each in made} == set(CustomerState)
    # Pages that end before they are full are walked through as well.
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 7)
    found_any = set()
    for text, deleted, oldest_first in product(FILTERS, (False, True), (False, True)):
        filter_ = condition(text)
        assert filter_
        expected = [
            each
            for each in (made if oldest_first else reversed(made))
            if (deleted or not each.deleted_at) and matches(filter_, each.value_of)
        ]
        wanted = CustomerList(RESELLER, filter_, show_deleted=deleted, oldest_first=oldest_first)
        for limit in (1, 4):
            found = await walk(partial(storage.customers.list_customers, wanted), limit)
            assert found == expected, (text, limit)
        found_any |= {text} if expected else set()
    assert found_any == set(FILTERS) - {'externalId = "ext-3" AND labels.tier = silver'}


async def test_a_page_without_a_filter_is_full(
    storage: SqlStorage, made: Sequence[Customer]
) -> None:
    for oldest_first in (False, True):
        wanted = CustomerList(RESELLER, show_deleted=True, oldest_first=oldest_first)
        read = partial(storage.customers.list_customers, wanted)
        assert await walk(read, 7) == list(made if oldest_first else made[::-1])
        part = await storage.customers.list_customers(wanted, 7, None)
        assert len(part.rows) == 7


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_callers_pages_pass_over_nobody(
    storage: SqlStorage, made: Sequence[Customer], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Each is read with one row past its end, which is the next page's, or ends before it is full."""
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 3)
    pages = Pages(lambda _: [])
    for text in ("", "state = SUSPENDED", "labels:tier", "createTime > 2031-01-01T00:00:00Z"):
        request = customer_service_pb2.ListCustomersRequest(
            parent=f"resellers/{RESELLER}", filter=text, page_size=size
        )
        wanted = wanted_customers(request)
        read = partial(storage.customers.list_customers, wanted)
        found: list[str] = []
        while True:
            page, request.page_token = await pages.read_part(
                request, (), read, lambda each: customer_pb2.Customer(name=each.id)
            )
            assert len(page) <= size
            found += [each.name for each in page]
            if not request.page_token:
                break
        assert found == [
            each.id
            for each in reversed(made)
            if not each.deleted_at
            and (wanted.filter_ is None or matches(wanted.filter_, each.value_of))
        ]


def many(database_url: str, number: int) -> None:
    """Adds active customers, of which the newer half is deleted, in place of those before."""
    query(database_url, "DELETE FROM customers WHERE n > 1000000")
    query(
        database_url,
        "INSERT INTO customers (n, id, reseller, name, person, created_at, modified_at, invitation, "
        "state, has_links, deleted_at, external_id) SELECT 1000000 + i, 'bcu' || i, 1, 'N', '{}', i, i, "
        f"0, 2, TRUE, CASE WHEN i > {number} / 2 THEN 5 END, 'x-' || i FROM {numbers(database_url, number)}",
    )


# Of many customers, of which the newer half is deleted.
MANY = {
    "all": CustomerList(RESELLER),
    "the oldest": CustomerList(RESELLER, oldest_first=True),
    "deleted ones too": CustomerList(RESELLER, show_deleted=True),
    "a state": CustomerList(RESELLER, condition("state = SUSPENDED")),
    "an external ID": CustomerList(RESELLER, condition('externalId = "x-7"')),
    "one of a deleted": CustomerList(
        RESELLER, condition('externalId = "x-1999"'), show_deleted=True
    ),
    "an address": CustomerList(RESELLER, condition("email = user3@example.com")),
    "a label that none has": CustomerList(RESELLER, condition("labels:none"), show_deleted=True),
}


@on_sqlite
async def test_sqlite_takes_as_many_steps_for_many_customers_as_for_few(
    storage: SqlStorage, database_url: str, made: Sequence[Customer]
) -> None:
    pages = {name: CustomerPage(wanted, 101, None) for name, wanted in MANY.items()}
    add = partial(many, database_url)
    assert await slower_among_many(storage, list_customers, pages, add) == set()


@on_postgresql
async def test_postgresql_reads_no_more_rows_than_a_page_looks_at(
    storage: SqlStorage, database_url: str, made: Sequence[Customer], rows_read: RowsRead
) -> None:
    many(database_url, 40_000)
    query(database_url, "ANALYZE customers")
    read = {
        name: await rows_read(storage.customers.list_customers(wanted, 101, None))
        for name, wanted in MANY.items()
    }
    assert {name for name, rows in read.items() if rows > 6_000} == set(), read


@on_postgresql
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_postgresql_plans_a_later_page_once(
    storage: SqlStorage, database_url: str, made: Sequence[Customer], oldest_first: bool
) -> None:
    """Planning takes about as long as reading: it is not done anew for each place in the list."""
    many(database_url, 40_000)
    query(database_url, "ANALYZE customers")
    # As if there were two million.
    query(
        database_url,
        "UPDATE pg_class SET reltuples = reltuples * 50 WHERE relname LIKE 'customers%'",
    )
    wanted = CustomerList(RESELLER, show_deleted=True, oldest_first=oldest_first)
    first = await storage.customers.list_customers(wanted, 101, None)
    for _ in range(
        12
    ):  # the driver prepares what comes often, PostgreSQL makes five plans to compare
        await storage.customers.list_customers(wanted, 101, first.read_to)
    assert await storage._reads.submit(_kept_plans, None) > 0


def _kept_plans(transaction: Transaction, calls: Sequence[None]) -> list[int]:
    """Returns how many lists of customers were read by a plan that was made for another."""
    transaction._cursor.execute(
        "SELECT sum(generic_plans) FROM pg_prepared_statements WHERE statement LIKE '%measured%'"
    )
    return [int(transaction._cursor.fetchone()[0]) for _ in calls]
