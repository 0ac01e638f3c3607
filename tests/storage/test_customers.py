"""Customers in the storage, on SQLite and PostgreSQL."""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest

from server.domain.access import Actor
from server.domain.customers import (
    TARGETS,
    Customer,
    CustomerList,
    CustomerState,
    NewCustomer,
    create_reseller_served,
    finished_operation,
)
from server.domain.errors import BillingError, Reason
from server.domain.operations import Operation, OperationKind
from server.storage.interface import MAX_LIST_CHARACTERS, Cursor, IdempotencyKey, Listed
from server.storage.sql.connections import Database
from server.storage.storage import SqlStorage
from tests.storage.databases import Databases, query
from tests.storage.reading import walk
from tests.storage.records import ACTOR, RESELLER, SECOND_RESELLER, START, new, records, until

ACTIVATE, SUSPEND = OperationKind.ACTIVATE, OperationKind.SUSPEND


def new_customer(
    state: CustomerState = CustomerState.ACTIVE, at: datetime = START, reseller_id: str = RESELLER
) -> NewCustomer:
    made = create_reseller_served(
        reseller_id=reseller_id, name="Рога", person={"tin": "77"}, actor=Actor("s"), now=at
    )
    return made._replace(customer=made.customer._replace(state=state))


def new_key(fingerprint: bytes = b"f") -> IdempotencyKey:
    return IdempotencyKey(uuid.uuid4().bytes, fingerprint)


def change(kind: OperationKind, customer: Customer, at: datetime = START) -> Operation:
    return finished_operation(kind, customer, "s", at)


async def state(storage: SqlStorage, customer: Customer) -> CustomerState:
    found = await storage.customers.get_customer(customer.id)
    assert found
    return found.state


async def listed(
    storage: SqlStorage, limit: int, after: Cursor | None = None
) -> Sequence[Listed[Customer]]:
    return (await storage.customers.list_customers(CustomerList(RESELLER), limit, after)).rows


async def operations(storage: SqlStorage) -> list[Operation]:
    return records((await storage.operations.list_operations([RESELLER], None, 1000, None)).rows)


async def test_what_is_created_is_read_back(storage: SqlStorage) -> None:
    made = new_customer()
    assert await storage.customers.create_customer(made, None) == made.operation
    assert await storage.customers.get_customer(made.customer.id) == made.customer
    assert await storage.operations.get_operation(made.operation.id) == made.operation
    assert records(await listed(storage, 10)) == [made.customer]


async def test_one_key_creates_one_customer(storage: SqlStorage, other_process: SqlStorage) -> None:
    key = new_key()
    made = await asyncio.gather(
        *(
            each.customers.create_customer(new_customer(), key)
            for each in (storage, other_process)
            for _ in range(50)
        )
    )
    assert len({operation.id for operation in made}) == 1
    assert len(await listed(storage, 10)) == 1
    assert len(await operations(storage)) == 1


async def test_a_key_of_another_request_is_refused(storage: SqlStorage) -> None:
    key = new_key()
    made = new_customer()
    await storage.customers.create_customer(made, key)
    other = IdempotencyKey(key.key, b"another")
    with pytest.raises(BillingError) as refused:
        await storage.customers.create_customer(new_customer(), other)
    assert refused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    with pytest.raises(BillingError) as refused:
        await storage.customers.change_customer_state(change(SUSPEND, made.customer), ACTOR, other)
    assert refused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert await state(storage, made.customer) is CustomerState.ACTIVE
    assert len(await operations(storage)) == 1


@pytest.mark.parametrize("before", [each for each in CustomerState if each != "deleted"])
@pytest.mark.parametrize("kind", TARGETS)
async def test_a_customer_is_changed_in_the_states_that_allow_it(
    storage: SqlStorage, kind: OperationKind, before: CustomerState
) -> None:
    made = new_customer(before)
    await storage.customers.create_customer(made, None)
    key = new_key()
    later = START + timedelta(seconds=1)
    asked = change(kind, made.customer, later)
    if before in (CustomerState.ACTIVE, CustomerState.SUSPENDED):
        assert await storage.customers.change_customer_state(asked, ACTOR, key) == asked
        assert await storage.operations.get_operation(asked.id) == asked
        found = await storage.customers.get_customer(made.customer.id)
        after = TARGETS[kind]
        changed_at = START if after is before else later
        assert found == made.customer._replace(state=after, modified_at=changed_at)
        return
    with pytest.raises(BillingError) as refused:
        await storage.customers.change_customer_state(asked, ACTOR, key)
    assert refused.value.reason is Reason.CUSTOMER_STATE
    assert refused.value.metadata["state"] == before
    assert await storage.customers.get_customer(made.customer.id) == made.customer
    assert await operations(storage) == [made.operation]


async def test_one_bad_change_does_not_fail_its_neighbours(storage: SqlStorage) -> None:
    good, bad = new_customer(), new_customer(CustomerState.INACTIVE)
    for made in (good, bad):
        await storage.customers.create_customer(made, None)
    asked = [change(SUSPEND, made.customer) for made in (good, bad, good)]
    outcomes = await asyncio.gather(
        *(storage.customers.change_customer_state(each, ACTOR, None) for each in asked),
        return_exceptions=True,
    )
    assert outcomes[0] == asked[0]
    assert isinstance(outcomes[1], BillingError)
    assert outcomes[2] == asked[2]


async def test_a_refused_change_leaves_its_key_free(storage: SqlStorage) -> None:
    made = new()
    await storage.invitations.create_invitation(made, None)
    key = new_key()
    with pytest.raises(BillingError):
        await storage.customers.change_customer_state(change(SUSPEND, made.customer), ACTOR, key)
    other = new_customer()
    await storage.customers.create_customer(other, None)
    asked = change(SUSPEND, other.customer)
    assert await storage.customers.change_customer_state(asked, ACTOR, key) == asked


async def test_calls_at_once_with_one_key_change_a_customer_once(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    made = new_customer()
    await storage.customers.create_customer(made, None)
    key = new_key()
    first = await asyncio.gather(
        *(
            each.customers.change_customer_state(change(SUSPEND, made.customer), ACTOR, key)
            for each in (storage, other_process)
            for _ in range(30)
        )
    )
    assert len({operation.id for operation in first if operation}) == 1
    await storage.customers.change_customer_state(change(ACTIVATE, made.customer), ACTOR, None)
    again = await storage.customers.change_customer_state(
        change(SUSPEND, made.customer), ACTOR, key
    )
    assert again == first[0]
    assert await state(storage, made.customer) is CustomerState.ACTIVE


async def test_changes_of_one_customer_from_two_processes_all_end_well(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    customers = [new_customer() for _ in range(5)]
    for made in customers:
        await storage.customers.create_customer(made, None)
    asked = [
        (each, change(kind, made.customer))
        for _ in range(5)
        for made in customers
        for each, kind in ((storage, SUSPEND), (other_process, ACTIVATE))
    ]
    done = await asyncio.gather(
        *(each.customers.change_customer_state(operation, ACTOR, None) for each, operation in asked)
    )
    assert done == [operation for _, operation in asked]
    assert len(await operations(storage)) == len(customers) + len(asked)
    for made in customers:
        assert await state(storage, made.customer) in TARGETS.values()


async def test_a_customer_that_was_taken_back_can_not_be_changed(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    kept, gone = new(), new()
    for made in (kept, gone):
        await storage.invitations.create_invitation(made, None)
    cancelled, *refused = await asyncio.gather(
        storage.operations.cancel_operation(gone.operation.id, START, ACTOR, None),
        *(
            other_process.customers.change_customer_state(
                change(ACTIVATE, gone.customer), ACTOR, None
            )
            for _ in range(20)
        ),
        return_exceptions=True,
    )
    assert isinstance(cancelled, Operation)
    # Before it was taken back it was in the wrong state, and after that it was not there.
    assert all(outcome is None or isinstance(outcome, BillingError) for outcome in refused)
    assert (
        await other_process.customers.change_customer_state(
            change(ACTIVATE, gone.customer), ACTOR, None
        )
        is None
    )
    assert await storage.customers.get_customer(gone.customer.id) is None
    assert records(await listed(storage, 10)) == [kept.customer]


async def test_pages_hold_each_customer_once_while_others_are_added(storage: SqlStorage) -> None:
    # Several have the same time; another reseller's are between them.
    first_ones = [new_customer(at=START + timedelta(microseconds=n // 4)) for n in range(23)]
    for made in first_ones:
        await storage.customers.create_customer(made, None)
        await storage.customers.create_customer(new_customer(reseller_id=SECOND_RESELLER), None)
    newest_first = [made.customer for made in reversed(first_ones)]
    seen: list[Customer] = []
    after = None
    while page := await listed(storage, 5, after):
        seen += records(page)
        after = page[-1].cursor
        await storage.customers.create_customer(
            new_customer(at=START + timedelta(seconds=len(seen))), None
        )
    assert seen == newest_first


async def test_a_change_waits_for_one_that_is_under_way(
    storage: SqlStorage, databases: Databases, database_url: str
) -> None:
    made = new_customer()
    await storage.customers.create_customer(made, None)
    database = Database(database_url)
    with contextlib.closing(database.connect()) as connection:
        database.begin(connection.cursor())
        connection.execute("UPDATE customers SET state = 4")
        asked = asyncio.create_task(
            storage.customers.change_customer_state(change(SUSPEND, made.customer), ACTOR, None)
        )
        if databases.kind == "postgresql":  # SQLite tells nobody who waits
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            await until(lambda: bool(query(database_url, waiting)))
        connection.execute("COMMIT")
    with pytest.raises(BillingError) as refused:
        await asked
    assert refused.value.metadata["state"] == "inactive"


async def test_a_list_reads_no_more_text_than_an_answer_could_carry(storage: SqlStorage) -> None:
    for size in (MAX_LIST_CHARACTERS // 2, MAX_LIST_CHARACTERS // 2 - 100, 10, 10, 10):
        made = new_customer()
        await storage.customers.create_customer(
            made._replace(customer=made.customer._replace(name="x" * size)), None
        )
    rows = await listed(storage, 100)
    seen = len(rows)
    while rows:
        texts = [len(row.record.name) for row in rows]
        assert sum(texts[:-1]) < MAX_LIST_CHARACTERS
        rows = await listed(storage, 100, rows[-1].cursor)
        seen += len(rows)
    assert seen == 5
    huge = new_customer(at=START + timedelta(seconds=1))
    huge = huge._replace(customer=huge.customer._replace(name="y" * (MAX_LIST_CHARACTERS + 1)))
    await storage.customers.create_customer(huge, None)
    assert records(await listed(storage, 100)) == [huge.customer]
    read = partial(storage.customers.list_customers, CustomerList(RESELLER))
    assert len(await walk(read, 100)) == 6
