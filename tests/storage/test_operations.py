import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.filters import matches
from server.domain.operations import CANCELLED, Failure, Operation
from server.rpc.messages.operations import parse_operation_filter
from server.storage.operations import lists
from server.storage.operations.lists import OperationPage, list_operations
from server.storage.sql.statements import Query, Transaction
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, on_sqlite, query
from tests.storage.reading import RowsRead, numbers, steps, walk
from tests.storage.records import (
    ACTOR,
    DONE,
    KEY_LIFETIME,
    LEASE,
    RESELLER,
    SECOND_RESELLER,
    START,
    claimed,
    done_is,
    invited,
    key,
    new,
    records,
)

LATER = START + timedelta(seconds=1)
LEFT = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM link_tokens)"


async def test_an_unknown_operation_is_not_found(storage: SqlStorage) -> None:
    assert await storage.operations.get_operation("bop0000000000000000o") is None
    assert (
        await storage.operations.cancel_operation("bop0000000000000000o", START, ACTOR, key("k"))
        is None
    )
    assert not await storage.operations.delete_operation("bop0000000000000000o", START, key("k"))
    assert await storage.waits.wait_operation("bop0000000000000000o", timedelta(hours=1)) is None


async def test_many_at_once_each_get_their_own(storage: SqlStorage) -> None:
    given = [await invited(storage) for _ in range(20)]
    wanted = [operation.id for operation in given] * 3 + ["unknown"]
    found = await asyncio.gather(*(storage.operations.get_operation(id_) for id_ in wanted))
    assert found == [*given * 3, None]


async def test_lists_are_newest_first_and_paged(storage: SqlStorage) -> None:
    made = []
    for number in range(40):
        at = START + timedelta(seconds=number // 3)  # some share their time
        # The newest are all of one reseller.
        for reseller in (RESELLER, SECOND_RESELLER) if number < 15 else (SECOND_RESELLER,):
            given = new(now=at, reseller_id=reseller)
            made.append(await storage.invitations.create_invitation(given, None))
    for resellers in ([RESELLER], [RESELLER, SECOND_RESELLER, RESELLER], ["none"], []):
        whole = records(
            (await storage.operations.list_operations(resellers, None, 1000, None)).rows
        )
        assert [row.id for row in whole] == [
            operation.id for operation in reversed(made) if operation.reseller_id in resellers
        ]
        assert {row.reseller_id for row in whole} <= set(resellers)
        paged: list[Operation] = []
        after = None
        while page := (await storage.operations.list_operations(resellers, None, 7, after)).rows:
            assert len(page) <= 7
            paged += records(page)
            after = page[-1].cursor
        assert paged == whole


MANY = [f"many-{number}" for number in range(1, 201)]


def many(database_url: str) -> None:
    """Adds resellers that each have as many operations, their turns coming one after the other."""
    query(
        database_url,
        "INSERT INTO resellers (n, id, name, created_at, modified_at) "
        f"SELECT 1000 + i, 'many-' || i, 'N', 1, 1 FROM {numbers(database_url, len(MANY))}",
    )
    query(
        database_url,
        "INSERT INTO operations (n, id, kind, reseller, customer, created_by, created_at, modified_at, "
        f"done) SELECT 1000000 + i, 'bop' || i, 2, 1001 + i % {len(MANY)}, 0, 's', i, i, TRUE "
        f"FROM {numbers(database_url, 150 * len(MANY))}",
    )


@on_sqlite
async def test_sqlite_takes_a_few_steps_more_for_each_reseller(
    storage: SqlStorage, database_url: str
) -> None:
    many(database_url)
    of_one, of_all = [
        await steps(storage, list_operations, OperationPage(of, None, 101, None))
        for of in (MANY[:1], MANY)
    ]
    assert of_all < of_one + 30 * len(MANY)


@on_postgresql
async def test_postgresql_reads_a_few_rows_more_for_each_reseller(
    storage: SqlStorage, database_url: str, rows_read: RowsRead
) -> None:
    many(database_url)
    query(database_url, "ANALYZE operations")
    of_one, of_all = [
        await rows_read(storage.operations.list_operations(of, None, 101, None))
        for of in (MANY[:1], MANY)
    ]
    assert of_all < of_one + 10 * len(MANY)


async def test_an_operation_that_ends_while_a_list_is_read_is_in_it_once(
    storage: SqlStorage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await invited(storage)
    fetch = Transaction.fetch
    read: list[object] = []

    def ending(
        transaction: Transaction, query_: Query[Any], *args: Any, **values: Any
    ) -> list[Any]:
        rows = fetch(transaction, query_, *args, **values)
        if query_.make == lists._Numbered._make:
            if not read:
                query(database_url, "UPDATE operations SET done = true")
            read.append(query_)
        return rows

    monkeypatch.setattr(Transaction, "fetch", ending)
    page = await storage.operations.list_operations([waiting.reseller_id], None, 10, None)
    assert len(read) == 2
    assert [(each.id, each.done) for each in records(page.rows)] == [(waiting.id, True)]


async def test_operations_are_listed_by_whether_they_are_done(storage: SqlStorage) -> None:
    given = [await invited(storage, START + timedelta(seconds=number)) for number in range(6)]
    for delivery in await storage.mail.claim_deliveries(4, LATER + LEASE, LEASE):
        await storage.mail.finish_delivery(delivery, LATER)
    finished = [row.id for row in reversed(given[:4])]
    running = [row.id for row in reversed(given[4:])]
    for done, ids in ((True, finished), (False, running), (None, running + finished)):
        page = (await storage.operations.list_operations([RESELLER], done_is(done), 10, None)).rows
        assert [row.id for row in records(page)] == ids
        first = (await storage.operations.list_operations([RESELLER], done_is(done), 1, None)).rows
        assert first == page[:1]
        rest = (
            await storage.operations.list_operations([RESELLER], done_is(done), 10, first[0].cursor)
        ).rows
        assert [row.id for row in records(rest)] == ids[1:]


async def test_filters_of_operations_find_what_meets_them(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.sql.bounded_lists.LOOKED_AT", 4)
    given = [
        await storage.invitations.create_invitation(
            new(now=START + timedelta(seconds=number), reseller_id=reseller), None
        )
        for number in range(12)
        for reseller in (RESELLER, SECOND_RESELLER)
    ]
    for each in given[::3]:
        await storage.operations.cancel_operation(each.id, LATER, ACTOR, None)
    made = [await storage.operations.get_operation(each.id) for each in reversed(given)]
    one = f'"resellers/{RESELLER}/customers/{given[2].customer_id}"'
    for text in (
        *("done", "NOT done", "done OR NOT done", "error:*", "NOT error:*", "done AND -error:*"),
        *(
            "metadata.createTime > 2030-01-01T12:00:05Z",
            "metadata.create_time < 2030-01-01T12:00:03Z",
        ),
        *(f"metadata.customer = {one}", f"metadata.customer = {one} OR error:*"),
    ):
        filter_ = parse_operation_filter(text)
        assert filter_
        expected = [each for each in made if each and matches(filter_, each.value_of)]
        assert bool(expected) is (text != "done AND -error:*")
        both = [RESELLER, SECOND_RESELLER]
        for limit in (1, 3):
            found = await walk(partial(storage.operations.list_operations, both, filter_), limit)
            assert found == expected, (text, limit)


async def test_what_has_not_begun_is_cancelled_without_a_trace(
    storage: SqlStorage, database_url: str
) -> None:
    given = await invited(storage)
    cancelled = await storage.operations.cancel_operation(given.id, LATER, ACTOR, None)
    assert cancelled
    assert (cancelled.done, cancelled.failure, cancelled.modified_at) == (True, CANCELLED, LATER)
    assert await storage.operations.get_operation(given.id) == cancelled
    assert query(database_url, LEFT) == [(0, 0)]
    assert await storage.mail.claim_deliveries(10, LATER, LEASE) == []


async def test_what_waits_for_its_next_try_is_cancelled(
    storage: SqlStorage, database_url: str
) -> None:
    given = await invited(storage)
    await storage.mail.retry_delivery(await claimed(storage), START + 2 * LEASE, START)
    cancelled = await storage.operations.cancel_operation(given.id, LATER, ACTOR, None)
    assert cancelled
    assert cancelled.failure == CANCELLED
    assert query(database_url, LEFT) == [(0, 0)]


async def test_cancelled_while_sending_but_the_mail_went_out(storage: SqlStorage) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    assert await storage.operations.cancel_operation(given.id, LATER, ACTOR, None) == given
    assert await storage.mail.finish_delivery(delivery, LATER)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert (ended.done, ended.failure) == (True, None)
    assert await storage.customers.get_customer(given.customer_id)


@pytest.mark.parametrize("outcome", ["retry", "fail"])
async def test_cancelled_while_sending_and_the_mail_did_not_go_out(
    storage: SqlStorage, database_url: str, outcome: str
) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    await storage.operations.cancel_operation(given.id, LATER, ACTOR, None)
    if outcome == "retry":
        assert await storage.mail.retry_delivery(delivery, LATER + LEASE, LATER)
    else:
        refused = Failure(Reason.RECIPIENT_REFUSED, "No such mailbox.", {"code": "550"})
        assert await storage.mail.fail_delivery(delivery, refused, LATER)
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert (ended.done, ended.failure) == (True, CANCELLED)
    assert query(database_url, LEFT) == [(0, 0)]


async def test_cancelled_while_sending_and_the_worker_died(
    storage: SqlStorage, database_url: str
) -> None:
    given = await invited(storage)
    other = await invited(storage, LATER)
    delivery = await claimed(storage)
    await storage.operations.cancel_operation(given.id, START, ACTOR, None)
    (next_delivery,) = await storage.mail.claim_deliveries(10, delivery.lease_until, LEASE)
    assert next_delivery.operation_id == other.id
    ended = await storage.operations.get_operation(given.id)
    assert ended
    assert (ended.done, ended.failure) == (True, CANCELLED)
    assert not await storage.mail.finish_delivery(delivery, delivery.lease_until)
    assert query(database_url, LEFT) == [(1, 1)]


async def test_cancelled_after_the_worker_died(storage: SqlStorage) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    cancelled = await storage.operations.cancel_operation(
        given.id, delivery.lease_until, ACTOR, None
    )
    assert cancelled
    assert cancelled.failure == CANCELLED
    assert not await storage.mail.finish_delivery(delivery, delivery.lease_until)


async def test_a_finished_one_is_not_cancelled(storage: SqlStorage) -> None:
    given = await invited(storage)
    await storage.mail.finish_delivery(await claimed(storage), START)
    finished = await storage.operations.get_operation(given.id)
    assert await storage.operations.cancel_operation(given.id, LATER, ACTOR, None) == finished


async def test_cancelled_by_many_at_once(storage: SqlStorage, other_process: SqlStorage) -> None:
    given = await invited(storage)
    outcomes = await asyncio.gather(
        *(
            each.operations.cancel_operation(given.id, LATER, ACTOR, None)
            for each in [storage, other_process] * 5
        )
    )
    assert set(map(str, outcomes)) == {str(await storage.operations.get_operation(given.id))}


async def test_a_repeated_cancel_with_the_same_key_gives_the_same_result(
    storage: SqlStorage, database_url: str
) -> None:
    first, second = await invited(storage), await invited(storage)
    await storage.operations.cancel_operation(first.id, LATER, ACTOR, key("k", "first"))
    with pytest.raises(BillingError) as refused:
        await storage.operations.cancel_operation(second.id, LATER, ACTOR, key("k", "second"))
    assert refused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
    assert await storage.operations.get_operation(second.id) == second
    repeated = await storage.operations.cancel_operation(first.id, LATER, ACTOR, key("k", "first"))
    assert repeated == await storage.operations.get_operation(first.id)
    with pytest.raises(BillingError):
        await storage.invitations.create_invitation(new(), key("k", "an invitation"))
    much_later = LATER + 2 * KEY_LIFETIME
    third = await storage.operations.cancel_operation(
        second.id, much_later, ACTOR, key("k", "second")
    )
    assert third
    assert third.failure == CANCELLED
    targets = "SELECT o.id FROM idempotency_keys k JOIN operations o ON o.n = k.target AND k.target_kind = 1"
    assert query(database_url, targets) == [(second.id,)]


async def test_only_finished_ones_are_deleted(storage: SqlStorage) -> None:
    given = await invited(storage)
    with pytest.raises(BillingError) as refused:
        await storage.operations.delete_operation(given.id, START, key("k"))
    assert refused.value.reason is Reason.OPERATION_RUNNING
    await storage.mail.finish_delivery(await claimed(storage), START)
    assert await storage.operations.delete_operation(given.id, START, key("k"))
    assert await storage.operations.delete_operation(given.id, START, key("k"))
    assert not await storage.operations.delete_operation(given.id, START, key("k2"))
    assert await storage.operations.get_operation(given.id) is None
    assert await storage.waits.wait_operation(given.id, timedelta(hours=1)) is None
    assert await storage.operations.cancel_operation(given.id, START, ACTOR, None) is None
    assert (await storage.operations.list_operations([RESELLER], None, 10, None)).rows == []
    assert (await storage.operations.list_operations([RESELLER], DONE, 10, None)).rows == []
    assert await storage.customers.get_customer(given.customer_id)
    other = await invited(storage)
    with pytest.raises(BillingError) as reused:
        await storage.operations.delete_operation(other.id, START, key("k", "another"))
    assert reused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED


async def test_an_operation_deleted_by_two_at_once_is_deleted_once(storage: SqlStorage) -> None:
    given = await invited(storage)
    await storage.mail.finish_delivery(await claimed(storage), START)
    outcomes = await asyncio.gather(
        *(storage.operations.delete_operation(given.id, START, None) for _ in range(5))
    )
    assert sorted(outcomes) == [False] * 4 + [True]


async def test_times_never_run_backwards(storage: SqlStorage) -> None:
    given = await invited(storage)
    ended = await storage.operations.cancel_operation(given.id, START - LEASE, ACTOR, None)
    assert ended
    assert ended.modified_at == START
