"""Batches lock rows, and write those that must be unique, in one order, whatever they came in.

Else two batches would wait for each other, which PostgreSQL takes a second to notice. Each test has
a batch of two wait for the one that comes first in that order, and sees that the other is free.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.domain.addresses import address_key
from server.domain.errors import Reason
from server.domain.invitations import NewInvitation
from server.domain.operations import OperationKind
from server.storage.interface import IdempotencyKey
from server.storage.invitations.addresses import address_hash
from server.storage.sql.connections import Database
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, LEASE, REFUSED, RESELLER, SECOND_RESELLER, START, key, new
from tests.storage.stored_invitation import StoredInvitation, recorded
from tests.storage.test_customers import change, new_customer

pytestmark = on_postgresql


@pytest.fixture
def rows_as_they_lie(database_url: str) -> None:
    """Has connections that are made from now on find rows in the order in which they were written."""
    name = Database(database_url).url.database
    for way in ("indexscan", "indexonlyscan", "bitmapscan", "hashjoin", "mergejoin"):
        query(database_url, f"ALTER DATABASE {name} SET enable_{way} = off")


def free(database_url: str, table: str, customer_id: str) -> Callable[[], Awaitable[None]]:
    """Makes a check that nobody holds a customer's row, or that of the operation that made it."""

    async def check() -> None:
        number = "(SELECT n FROM customers WHERE id = :id)"
        found = f"SELECT 1 FROM {table} WHERE n = {number} FOR UPDATE SKIP LOCKED"
        assert query(database_url, found, id=customer_id) == [(1,)]

    return check


def move_to_the_end(database_url: str, customer_id: str) -> None:
    """Has a row of an earlier number lie behind those of later ones."""
    for table in ("customers", "operations"):
        number = "(SELECT n FROM customers WHERE id = :id)"
        query(
            database_url,
            f"UPDATE {table} SET modified_at = modified_at + 1 WHERE n = {number}",
            id=customer_id,
        )


async def two_invitations(
    storage: SqlStorage, database_url: str
) -> tuple[StoredInvitation, StoredInvitation, dict[str, Any]]:
    """Returns two invitations, of which the one with the later number lies first; and their claims."""
    low, high = [await recorded(storage, new()) for _ in range(2)]
    claims = await storage.mail.claim_deliveries(10, START, LEASE)
    by_operation = {each.operation_id: each for each in claims}
    for stored in (low, high):
        stored.token = by_operation[stored.made.operation.id].link_token
    move_to_the_end(database_url, low.made.customer.id)
    return low, high, by_operation


@pytest.mark.usefixtures("rows_as_they_lie")
async def test_operations_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    low, high, _ = await two_invitations(storage, database_url)
    ids = [each.made.operation.id for each in (high, low)]
    outcome = await overlap.run(
        overlap.first.operations.cancel_operation(ids[1], START, ACTOR, None),
        overlap.in_one_batch(
            *(overlap.second.operations.cancel_operation(id_, START, ACTOR, None) for id_ in ids)
        ),
        meanwhile=free(database_url, "operations", high.made.customer.id),
    )
    assert outcome.waited
    assert [each.id for each in outcome.second] == ids


@pytest.mark.usefixtures("rows_as_they_lie")
async def test_invitations_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    low, high, _ = await two_invitations(storage, database_url)
    outcome = await overlap.run(
        low.seen_by(overlap.first).revoke(),
        overlap.in_one_batch(*(each.seen_by(overlap.second).revoke() for each in (high, low))),
        meanwhile=free(database_url, "customers", high.made.customer.id),
    )
    assert outcome.waited
    assert outcome.second == [await high.recorded(), await low.recorded()]


@pytest.mark.usefixtures("rows_as_they_lie")
async def test_invitations_of_failed_e_mails_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    low, high, claims = await two_invitations(storage, database_url)
    failed = [claims[each.made.operation.id] for each in (high, low)]
    outcome = await overlap.run(
        low.seen_by(overlap.first).answer(),
        overlap.in_one_batch(
            *(overlap.second.mail.fail_delivery(each, REFUSED, START) for each in failed)
        ),
        meanwhile=free(database_url, "customers", high.made.customer.id),
    )
    assert (outcome.waited, outcome.second) == (True, [True, True])
    assert (await low.operation()).failure is None
    assert (await high.operation()).failure == REFUSED


@pytest.mark.usefixtures("rows_as_they_lie")
async def test_customers_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    low, high = new_customer(), new_customer()
    for made in (low, high):
        await storage.customers.create_customer(made, None)
    move_to_the_end(database_url, low.customer.id)

    def suspend(process: SqlStorage, made: Any) -> Any:
        asked = change(OperationKind.SUSPEND, made.customer)
        return process.customers.change_customer_state(asked, ACTOR, None)

    outcome = await overlap.run(
        suspend(overlap.first, low),
        overlap.in_one_batch(*(suspend(overlap.second, each) for each in (high, low))),
        meanwhile=free(database_url, "customers", high.customer.id),
    )
    assert outcome.waited
    assert [each.done for each in outcome.second] == [True, True]


def _address(each: NewInvitation) -> int:
    return address_hash(address_key(each.invitation.email))


async def test_open_invitations_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap
) -> None:
    low, high = sorted((new(), new()), key=_address)

    async def invite_the_other() -> None:
        again = new(high.invitation.email)
        assert await storage.invitations.create_invitation(again, None) == again.operation

    outcome = await overlap.run(
        overlap.first.invitations.create_invitation(new(low.invitation.email), None),
        overlap.in_one_batch(
            *(overlap.second.invitations.create_invitation(each, None) for each in (high, low))
        ),
        # Else who invites for the same reseller would wait for its count.
        stop_before="INTO counts",
        meanwhile=invite_the_other,
    )
    assert outcome.waited
    assert [each.reason for each in outcome.second] == [Reason.INVITATION_OPEN] * 2


def _lock(each: IdempotencyKey) -> int:
    return int.from_bytes(each.key[:8], signed=True)


async def test_idempotency_keys_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap
) -> None:
    low, high = sorted((key("one"), key("other")), key=_lock)
    others = []

    async def use_the_other() -> None:
        others.append(await storage.customers.create_customer(new_customer(), high))

    outcome = await overlap.run(
        overlap.first.customers.create_customer(new_customer(), low),
        overlap.in_one_batch(
            *(
                overlap.second.customers.create_customer(new_customer(), each)
                for each in (high, low)
            )
        ),
        stop_before="INTO counts",
        meanwhile=use_the_other,
    )
    assert outcome.waited
    assert outcome.second == [*others, outcome.first]


async def test_counts_are_locked_in_one_order(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    """Those who take customers back come upon the resellers in the order of their operations."""
    low, high = sorted((RESELLER, SECOND_RESELLER))
    ids = [
        (await recorded(storage, new(reseller_id=each))).made.operation.id for each in (high, low)
    ]
    counted = f"customers/{high}"

    async def check() -> None:
        found = "SELECT scope FROM counts WHERE scope = :scope FOR UPDATE SKIP LOCKED"
        assert query(database_url, found, scope=counted) == [(counted,)]

    outcome = await overlap.run(
        overlap.first.customers.create_customer(new_customer(reseller_id=low), None),
        overlap.in_one_batch(
            *(overlap.second.operations.cancel_operation(id_, START, ACTOR, None) for id_ in ids)
        ),
        meanwhile=check,
    )
    assert outcome.waited
    assert [each.id for each in outcome.second] == ids
