"""Calls that share a transaction: each sees what the ones before it did."""

from datetime import timedelta

from server.domain.errors import Reason
from server.domain.operations import OperationKind
from server.storage.storage import SqlStorage
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, LEASE, REFUSED, START, claimed, invited, key, new
from tests.storage.test_customer_changes import create, delete
from tests.storage.test_customers import change, new_customer

LATER = START + timedelta(seconds=1)


async def test_of_several_outcomes_of_a_claim_the_first_counts(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    second = overlap.second
    outcomes = await overlap.in_one_batch(
        second.mail.retry_delivery(delivery, LATER, START),
        second.mail.finish_delivery(delivery, START),
        second.mail.fail_delivery(delivery, REFUSED, START),
    )
    assert outcomes == [True, False, False]
    assert await storage.operations.get_operation(given.id) == given


async def test_of_two_deletes_one_finds_the_operation(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    await storage.mail.finish_delivery(await claimed(storage), START)
    deletes = (overlap.second.operations.delete_operation(given.id, LATER, None) for _ in range(2))
    assert await overlap.in_one_batch(*deletes) == [True, False]


async def test_of_two_deletions_of_a_customer_one_finds_it(
    storage: SqlStorage, overlap: Overlap
) -> None:
    made = await create(storage)
    outcomes = await overlap.in_one_batch(
        *(delete(overlap.second, made) for _ in range(2)),
        delete(overlap.second, made, allow_missing=True),
    )
    found = await storage.customers.get_customer(made.id)
    assert found
    assert outcomes == [found, None, found]


async def test_of_two_cancels_the_later_changes_nothing(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    first, second = await overlap.in_one_batch(
        overlap.second.operations.cancel_operation(given.id, LATER, ACTOR, None),
        overlap.second.operations.cancel_operation(given.id, LATER + LEASE, ACTOR, None),
    )
    assert first == second == await storage.operations.get_operation(given.id)


async def test_the_latest_change_of_a_customer_counts(
    storage: SqlStorage, overlap: Overlap
) -> None:
    made = new_customer()
    await storage.customers.create_customer(made, None)
    kinds = (OperationKind.SUSPEND, OperationKind.ACTIVATE)
    await overlap.in_one_batch(
        *(
            overlap.second.customers.change_customer_state(
                change(kind, made.customer, LATER), ACTOR, None
            )
            for kind in kinds
        )
    )
    assert await storage.customers.get_customer(made.customer.id) == made.customer._replace(
        modified_at=LATER + timedelta(microseconds=1)
    )


async def test_of_two_invitations_for_the_same_address_the_later_names_the_first(
    overlap: Overlap,
) -> None:
    first, second = await overlap.in_one_batch(
        *(
            overlap.second.invitations.create_invitation(new("a@example.com"), None)
            for _ in range(2)
        )
    )
    assert second.reason is Reason.INVITATION_OPEN
    assert second.metadata["operationId"] == first.id


async def test_of_two_invitations_with_the_same_key_the_later_is_the_first(
    overlap: Overlap,
) -> None:
    """The same address: the later one is not told that the first is open."""
    first, second = await overlap.in_one_batch(
        *(
            overlap.second.invitations.create_invitation(new("a@example.com"), key("k"))
            for _ in range(2)
        )
    )
    assert first == second


async def test_two_claims_share_what_is_due(storage: SqlStorage, overlap: Overlap) -> None:
    given = {(await invited(storage)).id for _ in range(4)}
    claims = await overlap.in_one_batch(
        *(overlap.second.mail.claim_deliveries(2, START, LEASE) for _ in range(2))
    )
    assert {each.operation_id for found in claims for each in found} == given
