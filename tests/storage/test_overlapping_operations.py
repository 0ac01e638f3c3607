"""What one process does to an operation while another changes or claims it.

Each test decides the order: the first call stops right before its commit, the second one runs until
it waits for a lock of the first (or ends without), and then the first commits. SQLite has one
writer, so the second always waits there.
"""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from server.domain.access import VerifiedToken
from server.domain.operations import CANCELLED
from server.storage.interface import Delivery
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.overlap import Overlap
from tests.storage.records import ACTOR, DAY, LEASE, REFUSED, START, claimed, invited, key
from tests.storage.stored_invitation import MINUTE

LATER = START + timedelta(seconds=1)


async def test_a_cancel_sees_the_claim_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    outcome = await overlap.run(
        overlap.first.mail.claim_deliveries(10, START, LEASE),
        overlap.second.operations.cancel_operation(given.id, LATER, ACTOR, None),
    )
    assert outcome.waited
    (delivery,) = outcome.first
    # The e-mail is being sent, so the operation still runs and the customer is still there.
    assert outcome.second == given
    assert await storage.customers.get_customer(given.customer_id)
    assert await storage.mail.retry_delivery(delivery, LATER, LATER)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert ended.failure == CANCELLED


async def test_an_outcome_sees_the_cancel_that_it_waited_for(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    outcome = await overlap.run(
        overlap.first.operations.cancel_operation(given.id, LATER, ACTOR, None),
        overlap.second.mail.retry_delivery(delivery, LATER + LEASE, LATER),
    )
    assert (outcome.waited, outcome.second) == (True, True)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert ended.failure == CANCELLED
    assert await storage.customers.get_customer(given.customer_id) is None


@pytest.mark.parametrize("ending", ["finish", "fail", "retry"])
async def test_an_outcome_sees_the_claim_that_overtook_it(
    storage: SqlStorage, overlap: Overlap, ending: str
) -> None:
    given = await invited(storage)
    slow = await claimed(storage)
    now = slow.lease_until
    second = overlap.second
    endings: dict[str, Callable[[Delivery], Coroutine[Any, Any, bool]]] = {
        "finish": lambda delivery: second.mail.finish_delivery(delivery, now),
        "fail": lambda delivery: second.mail.fail_delivery(delivery, REFUSED, now),
        "retry": lambda delivery: second.mail.retry_delivery(delivery, now, now),
    }
    outcome = await overlap.run(
        overlap.first.mail.claim_deliveries(10, now, LEASE), endings[ending](slow)
    )
    (fast,) = outcome.first
    assert (outcome.waited, outcome.second, fast.attempt) == (True, False, 2)
    assert await storage.operations.get_operation(given.id) == given
    assert await storage.mail.finish_delivery(fast, now)


async def test_of_two_cancels_the_later_changes_nothing(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    outcome = await overlap.run(
        overlap.first.operations.cancel_operation(given.id, LATER, ACTOR, None),
        overlap.second.operations.cancel_operation(given.id, LATER + LEASE, ACTOR, None),
    )
    assert outcome.waited
    assert outcome.first == outcome.second == await storage.operations.get_operation(given.id)


async def test_of_two_deletes_one_finds_the_operation(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    await storage.mail.finish_delivery(await claimed(storage), START)
    outcome = await overlap.run(
        overlap.first.operations.delete_operation(given.id, LATER, None),
        overlap.second.operations.delete_operation(given.id, LATER, None),
    )
    assert outcome == (True, False, True)


@on_postgresql
async def test_workers_pass_over_what_others_are_claiming(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = [await invited(storage, START + number * MINUTE) for number in range(4)]
    now = START + 4 * MINUTE
    outcome = await overlap.run(
        overlap.first.mail.claim_deliveries(2, now, LEASE),
        overlap.second.mail.claim_deliveries(2, now, LEASE),
    )
    assert not outcome.waited
    assert {each.operation_id for each in outcome.first} == {row.id for row in given[:2]}
    assert {each.operation_id for each in outcome.second} == {row.id for row in given[2:]}


@on_postgresql
async def test_a_claim_passes_over_what_is_being_cancelled(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given, other = await invited(storage), await invited(storage)
    outcome = await overlap.run(
        overlap.first.operations.cancel_operation(given.id, START, ACTOR, None),
        overlap.second.mail.claim_deliveries(10, START, LEASE),
    )
    assert not outcome.waited
    assert [each.operation_id for each in outcome.second] == [other.id]


@on_postgresql
async def test_processes_pass_over_what_others_are_clearing(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    for number in range(4):
        await storage.access.revoke_token(VerifiedToken(b"%d" % number, "subject", None, START))
    outcome = await overlap.run(
        overlap.first.retention.clear_revoked_tokens(START + DAY, 3),
        overlap.second.retention.clear_revoked_tokens(START + DAY, 3),
    )
    assert outcome == (3, 1, False)
    assert query(database_url, "SELECT count(*) FROM revoked_tokens") == [(0,)]


@on_postgresql
async def test_clearing_passes_over_an_operation_that_is_being_given_a_key(
    storage: SqlStorage, overlap: Overlap
) -> None:
    given = await invited(storage)
    await storage.operations.cancel_operation(given.id, START, ACTOR, None)
    outcome = await overlap.run(
        overlap.first.operations.cancel_operation(given.id, START + DAY, ACTOR, key("k")),
        overlap.second.retention.clear_operations(START + DAY, 10),
    )
    assert (outcome.waited, outcome.second) == (False, 0)
    repeated = await storage.operations.cancel_operation(given.id, START + DAY, ACTOR, key("k"))
    assert repeated == outcome.first
