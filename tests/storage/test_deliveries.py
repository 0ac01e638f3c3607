import asyncio
from datetime import timedelta

from server.domain.errors import Reason
from server.domain.invitations import link_token_hash
from server.domain.operations import Failure
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import (
    DAY,
    INVITATION_LIFETIME,
    LEASE,
    START,
    claimed,
    invited,
    new,
)

SECOND = timedelta(seconds=1)


async def test_a_claim_tells_all_that_the_e_mail_needs(
    storage: SqlStorage, database_url: str
) -> None:
    given = new()
    await storage.invitations.create_invitation(given, None)
    delivery = await claimed(storage)
    assert delivery.operation_id == given.operation.id
    assert delivery.invitation_id == given.invitation.id
    assert delivery.email == given.invitation.email
    assert delivery.customer_name == given.customer.name
    assert delivery.reseller_name == "Reseller"
    assert delivery.attempt == 1
    assert delivery.lease_until == START + LEASE
    assert delivery.expires_at == START + INVITATION_LIFETIME
    assert not delivery.cancel_requested
    rows = query(
        database_url, "SELECT hash, id FROM link_tokens l JOIN customers c ON c.n = l.customer"
    )
    assert [(bytes(kept), id_) for kept, id_ in rows] == [
        (link_token_hash(delivery.link_token), given.customer.id)
    ]


async def test_the_oldest_come_first_and_each_once(storage: SqlStorage) -> None:
    given = [await invited(storage, START - number * SECOND) for number in range(5)]
    not_due = await invited(storage, START + SECOND)
    first = await storage.mail.claim_deliveries(3, START, LEASE)
    assert {delivery.operation_id for delivery in first} == {row.id for row in given[2:]}
    second = await storage.mail.claim_deliveries(3, START, LEASE)
    assert {delivery.operation_id for delivery in second} == {row.id for row in given[:2]}
    (third,) = await storage.mail.claim_deliveries(3, START + SECOND, LEASE)
    assert third.operation_id == not_due.id
    assert await storage.mail.claim_deliveries(3, START + SECOND, LEASE) == []


async def test_workers_never_claim_the_same(storage: SqlStorage, other_process: SqlStorage) -> None:
    given = await asyncio.gather(*(invited(storage) for _ in range(200)))

    async def work(own: SqlStorage) -> list[str]:
        ids: list[str] = []
        while deliveries := await own.mail.claim_deliveries(7, START, LEASE):
            ids += [delivery.operation_id for delivery in deliveries]
            finished = (own.mail.finish_delivery(delivery, START) for delivery in deliveries)
            assert all(await asyncio.gather(*finished))
        return ids

    worked = await asyncio.gather(*(work(own) for own in [storage, other_process] * 3))
    assert sorted(id_ for ids in worked for id_ in ids) == sorted(row.id for row in given)


async def test_a_success_ends_the_operation(storage: SqlStorage, database_url: str) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    assert await storage.mail.finish_delivery(delivery, START + SECOND)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert (ended.done, ended.failure, ended.modified_at) == (True, None, START + SECOND)
    assert not await storage.mail.finish_delivery(delivery, START + SECOND)
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(1,)]
    assert await storage.mail.claim_deliveries(10, START + 10 * LEASE, LEASE) == []


async def test_a_failure_takes_the_customer_back(storage: SqlStorage, database_url: str) -> None:
    given = await invited(storage)
    kept = await invited(storage, START + SECOND)
    failure = Failure(Reason.RECIPIENT_REFUSED, "Почтового ящика нет.", {"code": "550"})
    delivery = await claimed(storage)
    assert await storage.mail.fail_delivery(delivery, failure, START + SECOND)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert (ended.done, ended.failure, ended.modified_at) == (True, failure, START + SECOND)
    assert await storage.customers.get_customer(given.customer_id) is None
    assert query(database_url, "SELECT id FROM customers") == [(kept.customer_id,)]
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(0,)]


async def test_a_retry_is_due_when_it_says(storage: SqlStorage, database_url: str) -> None:
    await invited(storage)
    first = await claimed(storage)
    due_at = START + 3 * LEASE
    assert await storage.mail.retry_delivery(first, due_at, START)
    assert await storage.mail.claim_deliveries(10, due_at - SECOND, LEASE) == []
    second = await claimed(storage, due_at)
    assert second.attempt == 2
    assert second.link_token != first.link_token
    # The first may have arrived all the same: its link holds as well.
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(2,)]


async def test_who_has_been_overtaken_records_nothing(storage: SqlStorage) -> None:
    given = await invited(storage)
    slow = await claimed(storage)
    assert await storage.mail.claim_deliveries(10, slow.lease_until - SECOND, LEASE) == []
    fast = await claimed(storage, slow.lease_until)
    assert fast.attempt == 2
    failure = Failure(Reason.MAIL_UNDELIVERED, "", {})
    assert not await storage.mail.finish_delivery(slow, fast.lease_until)
    assert not await storage.mail.fail_delivery(slow, failure, fast.lease_until)
    assert not await storage.mail.retry_delivery(slow, fast.lease_until, fast.lease_until)
    assert await storage.operations.get_operation(given.id) == given
    assert await storage.mail.finish_delivery(fast, fast.lease_until)


async def test_of_two_outcomes_at_once_one_counts(storage: SqlStorage) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    outcomes = await asyncio.gather(
        storage.mail.finish_delivery(delivery, START),
        storage.mail.retry_delivery(delivery, START, START),
        storage.mail.finish_delivery(delivery, START),
    )
    assert sorted(outcomes) == [False, False, True]
    assert await storage.operations.get_operation(given.id)


async def test_what_a_wrong_clock_has_dated_does_not_lie(storage: SqlStorage) -> None:
    """A day ahead, a machine took an invitation in, and another's e-mail under a lease, and died."""
    tomorrow = START + 2 * DAY
    for due_at in (tomorrow, START):
        await invited(storage, due_at)
    claimed = await storage.mail.claim_deliveries(1, tomorrow, LEASE)
    assert len(claimed) == 1
    deliveries = await storage.mail.claim_deliveries(10, START, LEASE, DAY)
    assert sorted(delivery.attempt for delivery in deliveries) == [1, 2]
    assert not await storage.mail.finish_delivery(claimed[0], tomorrow)
    for delivery in deliveries:
        assert await storage.mail.finish_delivery(delivery, START)
