"""E-mails that were not taken: what their operations tell, and whom they must not hold up."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from server.domain.errors import Reason
from server.domain.operations import Deferral
from server.storage import migrate
from server.storage.check import check
from server.storage.storage import SqlStorage
from tests.storage.databases import query
from tests.storage.records import ACTOR, DAY, LEASE, NOT_DONE, START, claimed, invited, key
from tests.storage.stored_invitation import MINUTE, StoredInvitation, recorded, refused, sent

LATER = START + 5 * MINUTE
AGAIN = LATER + MINUTE
NEXT_AT = START + DAY
DEFERRAL = Deferral(1, "the mail server said 451 4.3.0", NEXT_AT)


async def _deferred(storage: SqlStorage, count: int = 1) -> list[str]:
    """Has e-mails put off until NEXT_AT; returns their operations' IDs."""
    await asyncio.gather(*(invited(storage) for _ in range(count)))
    deliveries = await storage.mail.claim_deliveries(count, START, LEASE)
    put_off = (storage.mail.retry_delivery(each, NEXT_AT, LATER, DEFERRAL) for each in deliveries)
    assert all(await asyncio.gather(*put_off))
    return [each.operation_id for each in deliveries]


async def test_an_operation_tells_why_it_is_late(storage: SqlStorage) -> None:
    (id_,) = await _deferred(storage)
    operation = await storage.operations.get_operation(id_)
    assert operation
    assert (operation.done, operation.deferral, operation.modified_at) == (False, DEFERRAL, LATER)
    (listed,) = (await storage.operations.list_operations(["reseller-1"], NOT_DONE, 10, None)).rows
    assert listed.record == operation
    # Who gives a claim back without having tried says nothing new.
    again = await claimed(storage, NEXT_AT)
    assert await storage.mail.retry_delivery(again, NEXT_AT, NEXT_AT)
    assert await storage.operations.get_operation(id_) == operation
    assert await storage.mail.finish_delivery(await claimed(storage, NEXT_AT), NEXT_AT)


@pytest.mark.parametrize("keep_link", [False, True])
async def test_links_of_tries_that_sent_nothing_do_not_pile_up(
    storage: SqlStorage, database_url: str, keep_link: bool
) -> None:
    operation = await invited(storage)
    for _ in range(10):
        delivery = await claimed(storage)
        assert await storage.mail.retry_delivery(
            delivery, START, START, DEFERRAL, keep_link=keep_link
        )
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(10 * keep_link,)]
    assert await storage.mail.finish_delivery(await claimed(storage), START)
    assert query(database_url, "SELECT count(*) FROM link_tokens") == [(10 * keep_link + 1,)]
    ended = await storage.operations.get_operation(operation.id)
    assert ended
    assert ended.failure is None


async def test_time_never_runs_backwards_for_an_operation(storage: SqlStorage) -> None:
    operation = await invited(storage)
    delivery = await claimed(storage)
    before = START - MINUTE
    assert await storage.mail.retry_delivery(delivery, NEXT_AT, before, DEFERRAL)
    after = await storage.operations.get_operation(operation.id)
    assert after
    assert after.modified_at == operation.modified_at


@pytest.mark.parametrize("retries_first", [False, True])
async def test_new_e_mails_do_not_wait_behind_those_tried_again(
    storage: SqlStorage, retries_first: bool
) -> None:
    """Except when it is the others' turn."""
    deferred = await _deferred(storage, 20)
    new = await invited(storage, NEXT_AT)
    first = await storage.mail.claim_deliveries(5, NEXT_AT, LEASE, retries_first=retries_first)
    assert len(first) == 5
    assert (new.id in {each.operation_id for each in first}) is not retries_first
    rest = await storage.mail.claim_deliveries(100, NEXT_AT, LEASE)
    ids = [each.operation_id for each in first + rest]
    assert sorted(ids) == sorted([*deferred, new.id])


async def test_a_worker_is_woken_for_both_kinds(storage: SqlStorage) -> None:
    await _deferred(storage)
    async with asyncio.timeout(10):
        await storage.mail.wait_for_work(NEXT_AT, DAY)
        await storage.mail.claim_deliveries(10, NEXT_AT, LEASE)
        await invited(storage, NEXT_AT)
        await storage.mail.wait_for_work(NEXT_AT, DAY)


async def test_one_that_a_wrong_clock_has_dated_is_found(storage: SqlStorage) -> None:
    await invited(storage)
    delivery = await claimed(storage)
    assert await storage.mail.retry_delivery(delivery, START + 9 * DAY, START, DEFERRAL)
    assert await storage.mail.claim_deliveries(10, START, LEASE, 10 * DAY) == []
    (found,) = await storage.mail.claim_deliveries(10, START, LEASE, DAY)
    assert found.operation_id == delivery.operation_id


def test_each_kind_is_found_by_its_own_index(tmp_path: Path) -> None:
    """What is put off is not looked through for what is new, nor the other way round.

    On SQLite: PostgreSQL plans by its statistics.
    """
    database_url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(database_url)
    for condition, index in (("IS NULL", "operations_due"), ("IS NOT NULL", "operations_deferred")):
        plan = query(
            database_url,
            "EXPLAIN QUERY PLAN SELECT id FROM operations"
            f" WHERE deferral {condition} AND due_at <= 1 ORDER BY due_at LIMIT 10",
        )
        assert f"USING INDEX {index} (due_at<?)" in str(plan)
        assert "TEMP B-TREE" not in str(plan)


async def _put_off(stored: StoredInvitation) -> None:
    delivery = await stored.claim(START + MINUTE)
    assert await stored.storage.mail.retry_delivery(delivery, NEXT_AT, LATER, DEFERRAL)


class TestResendingWhatIsPutOff:
    @pytest.mark.parametrize("earlier", [False, True])
    async def test_it_is_tried_at_once(
        self, storage: SqlStorage, database_url: str, earlier: bool
    ) -> None:
        """The first e-mail of an invitation as well as one that was asked for again."""
        stored = await (sent if earlier else recorded)(storage)
        operation = await stored.resend() if earlier else stored.made.operation
        await _put_off(stored)
        again = await stored.resend(AGAIN)
        assert (again.id, again.done) == (operation.id, False)
        assert again.deferral == DEFERRAL._replace(next_attempt_at=AGAIN)
        found = await stored.recorded()
        assert await stored.latest() == operation.id
        assert found.expires_at == AGAIN + timedelta(days=30)
        await stored.deliver(AGAIN)
        ended = await storage.operations.get_operation(operation.id)
        assert ended
        assert (ended.done, ended.failure) == (True, None)
        assert await stored.answer(now=AGAIN)
        assert [each for each in check(database_url) if each.count] == []

    async def test_is_refused_while_it_is_being_tried(self, storage: SqlStorage) -> None:
        stored = await recorded(storage)
        await _put_off(stored)
        await stored.claim(NEXT_AT)
        error = await refused(stored.resend(NEXT_AT))
        assert error.reason is Reason.MAIL_UNDER_WAY

    async def test_is_refused_when_a_try_has_just_failed(self, storage: SqlStorage) -> None:
        stored = await recorded(storage)
        await _put_off(stored)
        error = await refused(stored.resend(LATER + MINUTE / 2))
        assert (error.reason, error.retry_after_s) == (Reason.RESENT_TOO_SOON, 30.0)

    async def test_with_a_key_is_done_once(self, storage: SqlStorage, database_url: str) -> None:
        stored = await recorded(storage)
        await _put_off(stored)
        first = await stored.resend(AGAIN, use=key("again"))
        second = await stored.resend(AGAIN, use=key("again"))
        assert first == second
        assert [each for each in check(database_url) if each.count] == []

    async def test_is_undone_with_the_resend_that_was_put_off(self, storage: SqlStorage) -> None:
        stored = await sent(storage)
        before, token = await stored.recorded(), stored.token
        resent = await stored.resend()
        await _put_off(stored)
        await stored.resend(AGAIN)
        assert await storage.operations.cancel_operation(resent.id, AGAIN, ACTOR, None)
        assert await stored.recorded() == before
        assert await stored.answer(token=token)
