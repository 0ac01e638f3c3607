"""Deliveries: made of new events in order, claimed by one, retried, given up, and what follows."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from server.domain.events import EventType
from server.storage.check import check
from server.storage.interface import DeliveryAttempt, WebhookDelivery
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from server.storage.webhooks import delivery_rows, delivery_storage
from server.storage.webhooks.fan_out import MOST_AT_ONCE, MOST_PUT_OFF
from tests.storage.databases import on_postgresql, query
from tests.storage.overlap import Overlap
from tests.storage.records import DAY, LEASE, RESELLER, SECOND_RESELLER, START
from tests.storage.webhooks.records import add_webhook, happen, rows, transact

SECOND = timedelta(seconds=1)


async def claim(
    storage: SqlStorage, now: datetime = START, limit: int = 50
) -> list[WebhookDelivery]:
    """Claims as a runner does: told that logs have grown, or having looked."""
    storage.deliveries.look_again()
    await storage.deliveries._look(now)
    return await storage.deliveries.claim_webhook_deliveries(limit, now, LEASE)


def tried(at: datetime = START, status: int | None = 200, error: str = "") -> DeliveryAttempt:
    return DeliveryAttempt(at, timedelta(milliseconds=12), status, error)


def events(claimed: Sequence[WebhookDelivery]) -> list[int]:
    return sorted(each.event.number for each in claimed)


async def succeed(
    storage: SqlStorage, claimed: Sequence[WebhookDelivery], at: datetime = START
) -> None:
    finish = storage.deliveries.finish_webhook_delivery
    assert all(await asyncio.gather(*(finish(each, tried(at)) for each in claimed)))


async def fail(storage: SqlStorage, delivery: WebhookDelivery, at: datetime = START) -> None:
    """Records a try that failed, to be tried again at once."""
    attempt = tried(at, 500)
    assert await storage.deliveries.retry_webhook_delivery(delivery, attempt, at + attempt.took)


async def test_what_happens_is_delivered_once_to_each_webhook(
    storage: SqlStorage, database_url: str
) -> None:
    first, second = await add_webhook(storage), await add_webhook(storage, "whk2")
    await add_webhook(storage, "whk3", reseller_id=SECOND_RESELLER)
    await happen(storage, 7, 8)
    claimed = await claim(storage)
    # The second webhook's creation is an event of the first.
    found = sorted((each.webhook_number, each.event.number) for each in claimed)
    assert found == [(first, 2), (first, 3), (first, 4), (second, 3), (second, 4)]
    assert await claim(storage) == []
    await succeed(storage, claimed)
    assert rows(database_url, "deliveries", "n") == []
    assert len(rows(database_url, "attempts", "n")) == 5
    assert await claim(storage) == []


async def test_a_delivery_says_where_it_goes_and_what_happened(storage: SqlStorage) -> None:
    await add_webhook(storage, url="https://example.com/a?b")
    await happen(storage, 7)
    (delivery,) = await claim(storage)
    assert (delivery.url, delivery.webhook_id, delivery.attempt, delivery.tries) == (
        *("https://example.com/a?b", "whk1", 1, 0),
    )
    assert delivery.lease_until == START + LEASE
    assert delivery.event.type is EventType.ACCESS_GRANTED
    assert len(delivery.secrets) == 1


async def test_an_old_secret_signs_until_its_time_is_over(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    query(
        database_url,
        "UPDATE webhooks SET old_secret = 'old', old_secret_until = :at",
        at=micros(START + SECOND),
    )
    await happen(storage, 7)
    (delivery,) = await claim(storage)
    assert delivery.secrets[1:] == ("old",)
    await storage.deliveries.retry_webhook_delivery(delivery, None, START + SECOND)
    (delivery,) = await claim(storage, START + SECOND)
    assert delivery.secrets[1:] == ()


async def test_events_of_one_customer_come_in_order_and_others_go_on(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 7, 8, 7, 0, 0)
    claimed = await claim(storage)
    assert events(claimed) == [2, 4, 6, 7]
    first = next(each for each in claimed if each.event.number == 2)
    await succeed(storage, [each for each in claimed if each is not first])
    assert await claim(storage) == []
    await fail(storage, first)
    (again,) = await claim(storage, START + SECOND)
    assert (again.event.number, again.tries) == (2, 1)
    await succeed(storage, [again], START + SECOND)
    (second,) = await claim(storage, START + 2 * SECOND)
    assert (second.event.number, second.tries) == (3, 0)
    await storage.deliveries.fail_webhook_delivery(second, tried(START + 2 * SECOND, 500))
    (third,) = await claim(storage, START + 3 * SECOND)
    assert third.event.number == 5
    await succeed(storage, [third])
    assert rows(database_url, "deliveries", "n") == []


async def test_only_wanted_types_are_sent(storage: SqlStorage) -> None:
    await add_webhook(storage, types=["customer.created"])
    await happen(storage, 7, type_=EventType.ACCESS_GRANTED)
    await happen(storage, 7, type_=EventType.WEBHOOK_TEST)
    await happen(storage, 0, type_=EventType.ACCESS_REVOKED)
    assert await claim(storage) == []
    assert not storage.deliveries._grown


async def test_a_webhook_has_few_deliveries_at_once(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await add_webhook(storage, "whk2", reseller_id=SECOND_RESELLER)
    await happen(storage, *range(1, 101))
    await happen(storage, 1, reseller_id=SECOND_RESELLER)
    claimed = await claim(storage, limit=200)
    assert len(claimed) == MOST_AT_ONCE + 1
    await succeed(storage, claimed[:5])
    assert len(await claim(storage, limit=200)) == 5


async def test_slots_are_shared_among_webhooks(storage: SqlStorage) -> None:
    for number in range(4):
        await add_webhook(storage, f"whk{number}", types=["access.revoked"])
    await happen(storage, *range(1, 101), type_=EventType.ACCESS_REVOKED)
    claimed = await claim(storage, limit=8)
    shares = [each.webhook_id for each in claimed]
    assert {shares.count(each) for each in shares} == {2}
    assert storage.deliveries._grown


async def test_a_webhook_that_fails_gets_one_at_a_time(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await happen(storage, *range(1, 101))
    for delivery in await claim(storage, limit=200):
        await fail(storage, delivery)
    now = START + SECOND
    assert len(await claim(storage, now, limit=200)) == 1
    assert await claim(storage, now, limit=200) == []


async def test_once_it_works_again_all_goes_on(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await happen(storage, *range(1, 101))
    for delivery in await claim(storage, limit=200):
        await fail(storage, delivery)
    now, seen = START + SECOND, set[int]()
    while len(seen) < 100:
        claimed = await claim(storage, now, limit=200)
        await succeed(storage, claimed, now)
        seen |= {each.event.number for each in claimed}
        now += SECOND
    assert now < START + timedelta(minutes=1)


async def test_new_events_are_tried_ever_less_often_while_all_fail(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, *range(1, 201))
    now, tries = START, 0
    while now < START + timedelta(hours=2):
        for delivery in await claim(storage, now):
            attempt = tried(now, None, "the connection was refused")
            await storage.deliveries.retry_webhook_delivery(delivery, attempt, now + 2 * DAY)
            tries += 1
        now += timedelta(seconds=20)
    assert 15 < tries < 60
    assert len(rows(database_url, "deliveries", "n")) == tries < MOST_PUT_OFF


async def test_one_event_that_is_never_taken_blocks_nobody_else(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await happen(storage, *([7] * 600), *range(8, 20))
    now, seen = START, set[int]()
    for _ in range(20):
        for delivery in await claim(storage, now):
            if delivery.event.number == 2:
                attempt = tried(now, 500)
                await storage.deliveries.retry_webhook_delivery(delivery, attempt, now + DAY)
            else:
                await succeed(storage, [delivery], now)
                seen.add(delivery.event.number)
        now += SECOND
    assert seen == set(range(602, 614))


async def test_a_pause_holds_for_the_webhook_as_a_whole(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 8)
    first, second = await claim(storage)
    pause = START + timedelta(minutes=5)
    await storage.deliveries.retry_webhook_delivery(first, tried(START, 429), START, pause)
    await storage.deliveries.retry_webhook_delivery(second, tried(START, 500), START)
    await happen(storage, 9)
    assert await claim(storage, pause - SECOND) == []
    assert len(await claim(storage, pause)) == 1


async def test_success_may_ask_for_a_pause_too(storage: SqlStorage) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 7)
    (first,) = await claim(storage)
    pause = START + timedelta(minutes=5)
    assert await storage.deliveries.finish_webhook_delivery(first, tried(), pause)
    assert await claim(storage, pause - SECOND) == []
    assert events(await claim(storage, pause)) == [3]


async def test_nothing_but_a_test_goes_to_an_address_that_has_not_answered_one(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage, verified=False)
    await happen(storage, 7, 8)
    (test,) = await claim(storage)
    assert test.event.type is EventType.WEBHOOK_TEST
    await fail(storage, test)
    assert rows(database_url, "webhooks", "verified_at") == [(None,)]
    (test,) = await claim(storage, START + SECOND)
    await succeed(storage, [test], START + SECOND)
    assert events(await claim(storage, START + SECOND)) == [2, 3]


async def test_an_answer_at_a_former_address_verifies_nothing(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage, verified=False)
    (test,) = await claim(storage)
    query(database_url, "UPDATE webhooks SET url = 'https://victim.example/'")
    assert await storage.deliveries.finish_webhook_delivery(test, tried())
    assert rows(database_url, "webhooks", "verified_at", "last_success_at") == [(None, None)]


async def test_who_switches_on_and_off_causes_no_e_mails(
    storage: SqlStorage, database_url: str
) -> None:
    """Neither does who adds webhooks whose receivers say 410 at once."""
    await add_webhook(storage)
    for number, (passed, alert) in enumerate(((SECOND, None), (DAY, "disabled")), 7):
        query(database_url, "UPDATE webhooks SET enabled = (1 = 1), disable_reason = ''")
        query(database_url, "UPDATE webhooks SET updated_at = :at", at=micros(START))
        query(database_url, "DELETE FROM deliveries")
        await happen(storage, number)
        at = START + passed
        (delivery, *_) = await claim(storage, at)
        attempt = tried(at, 410)
        assert await storage.deliveries.fail_webhook_delivery(delivery, attempt, disable=True)
        assert rows(database_url, "webhooks", "alert") == [(alert,)]


async def test_gone_disables_and_keeps_what_was_to_be_sent(
    storage: SqlStorage, database_url: str
) -> None:
    number = await add_webhook(storage)
    await happen(storage, 7, 7, 8)
    query(database_url, "UPDATE webhooks SET updated_at = 1")
    first, second = await claim(storage)
    assert await storage.deliveries.fail_webhook_delivery(first, tried(START, 410), disable=True)
    await fail(storage, second)
    assert await claim(storage, START + DAY) == []
    state = rows(database_url, "webhooks", "enabled", "disable_reason", "alert", "revision")
    assert [tuple(map(str, row)) for row in state] in (
        [("False", "The receiver answered 410 Gone.", "disabled", "2")],
        [("0", "The receiver answered 410 Gone.", "disabled", "2")],
    )
    ((type_, subject),) = query(
        database_url, "SELECT type, subject FROM events ORDER BY number DESC LIMIT 1"
    )
    assert (type_, subject) == (17, "service")
    query(database_url, "UPDATE webhooks SET enabled = (1 = 1)")
    now = micros(START + DAY)
    await transact(storage, lambda each: delivery_rows.release_deliveries(each, number, now))
    again = await claim(storage, START + DAY)
    assert events(again) == [2, 4, 5]
    assert {each.tries for each in again} == {0}


async def test_a_claim_that_was_overtaken_records_nothing(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 7)
    (late,) = await claim(storage)
    (other,) = await claim(storage, START + LEASE)
    assert (other.event, other.attempt) == (late.event, 2)
    deliveries = storage.deliveries
    assert not await deliveries.finish_webhook_delivery(late, tried())
    assert not await deliveries.retry_webhook_delivery(late, tried(), START)
    assert not await deliveries.fail_webhook_delivery(late, tried())
    assert rows(database_url, "attempts", "n") == []
    await succeed(storage, [other])
    assert not await deliveries.finish_webhook_delivery(other, tried())
    (follower,) = await claim(storage, START + LEASE)
    assert not await deliveries.finish_webhook_delivery(late, tried())
    await succeed(storage, [follower])


async def test_attempts_are_kept(storage: SqlStorage, database_url: str) -> None:
    await add_webhook(storage)
    await happen(storage, 7)
    (delivery,) = await claim(storage)
    await storage.deliveries.retry_webhook_delivery(
        delivery, tried(START, None, "the connection was refused"), START + SECOND
    )
    (delivery,) = await claim(storage, START + SECOND)
    await succeed(storage, [delivery], START + SECOND)
    columns = ("event", "at", "took_ms", "status", "error", "succeeded", "next_try_at")
    found = rows(database_url, "attempts", *columns)
    after = micros(START + SECOND)
    assert found == [
        (2, micros(START), 12, None, "the connection was refused", False, after),
        (2, after, 12, 200, "", True, None),
    ]


async def test_two_processes_never_claim_the_same(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    for number in range(5):
        await add_webhook(storage, f"whk{number}", types=["access.revoked"])
    await happen(storage, *range(1, 41), type_=EventType.ACCESS_REVOKED)
    seen: list[tuple[int, int]] = []
    while len(seen) < 200:
        batches = await asyncio.gather(claim(storage), claim(other_process))
        for process, claimed in zip((storage, other_process), batches, strict=True):
            await succeed(process, claimed)
            seen += [(each.webhook_number, each.event.number) for each in claimed]
    assert len(set(seen)) == len(seen)


@on_postgresql  # SQLite has one writer
async def test_nobody_waits_for_a_claim_of_another(overlap: Overlap) -> None:
    await overlap.first.administration.add_reseller("reseller-1", "Reseller", START)
    await add_webhook(overlap.first)
    await happen(overlap.first, *range(1, 30))
    for each in (overlap.first, overlap.second):
        await each.deliveries._look(START)
    outcome = await overlap.run(
        overlap.first.deliveries.claim_webhook_deliveries(50, START, LEASE),
        overlap.second.deliveries.claim_webhook_deliveries(50, START, LEASE),
    )
    assert not outcome.waited
    assert (len(outcome.first), outcome.second) == (MOST_AT_ONCE, [])


async def test_a_worker_is_woken_by_what_happens_in_any_process(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    await add_webhook(storage)
    for process in (storage, other_process):
        assert await claim(storage) == []
        waiting = asyncio.create_task(
            storage.deliveries.wait_for_webhook_deliveries(START, timedelta(seconds=60))
        )
        async with asyncio.timeout(10):
            await happen(process, 7)
            await waiting
        await succeed(storage, await claim(storage))


async def test_what_no_webhook_gets_wakes_nobody(storage: SqlStorage) -> None:
    await add_webhook(storage, reseller_id=SECOND_RESELLER)
    assert await claim(storage) == []
    await happen(storage, 7, reseller_id=RESELLER)
    await asyncio.sleep(0)
    assert not storage.deliveries._grown


async def test_giving_up_the_last_one_ends_the_count_of_failing_days(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 7)
    (delivery,) = await claim(storage)
    await fail(storage, delivery)
    assert rows(database_url, "webhooks", "failing_since", "alert") == [(micros(START), "warning")]
    (delivery,) = await claim(storage, START + SECOND)
    await storage.deliveries.fail_webhook_delivery(delivery, tried(START + SECOND, 500))
    assert rows(database_url, "webhooks", "failing_since", "alert") == [(None, None)]


@pytest.mark.parametrize("held", ["webhook", "reseller"])
async def test_nobody_is_warned_of_one_that_is_held(
    storage: SqlStorage, database_url: str, held: str
) -> None:
    number = await add_webhook(storage)
    await happen(storage, 7, 8, 9)
    first, second, third = await claim(storage)
    await fail(storage, first)
    assert rows(database_url, "webhooks", "alert") == [("warning",)]
    if held == "reseller":
        await storage.administration.suspend_reseller(RESELLER, START)
    else:
        query(
            database_url,
            "UPDATE webhooks SET enabled = (1 = 0), disable_reason = 'Disabled through the API.'",
        )
        await transact(storage, lambda each: delivery_rows.hold_deliveries(each, number))
    await fail(storage, second)
    assert rows(database_url, "webhooks", "alert", "due_at") == [(None, None)]
    await succeed(storage, [third])
    assert {row[0] for row in rows(database_url, "deliveries", "due_at")} == {None}
    assert [each for each in check(database_url) if each.count] == []


async def test_old_attempts_are_cleared_the_oldest_first(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 7)
    for number in range(5):
        (delivery,) = await claim(storage, START + number * DAY)
        at = START + number * DAY
        await storage.deliveries.retry_webhook_delivery(delivery, tried(at, 500), at + DAY)
    clear = storage.retention.clear_attempts
    assert await clear(START + 3 * DAY, 2) == 2
    assert await clear(START + 3 * DAY, 2) == 1
    assert await clear(START + 3 * DAY, 2) == 0
    left = [START + 3 * DAY, START + 4 * DAY]
    assert rows(database_url, "attempts", "at") == [(micros(at),) for at in left]


async def test_an_event_that_is_cleared_makes_way_for_the_next(
    storage: SqlStorage, database_url: str
) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 7, 8)
    claimed = await claim(storage)
    assert events(claimed) == [2, 4]
    query(database_url, "DELETE FROM events WHERE number IN (2, 4)")
    assert await claim(storage, START + LEASE) == []
    assert events(await claim(storage, START + LEASE)) == [3]
    assert len(rows(database_url, "deliveries", "n")) == 1


async def test_what_another_holds_is_taken_up_once_it_lets_go(
    overlap: Overlap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when all is looked at again: who holds it read the log before the event was there."""
    monkeypatch.setattr(delivery_storage, "LOOK_EVERY", timedelta(hours=1))
    first, second = overlap.first.deliveries, overlap.second.deliveries
    await add_webhook(overlap.first)
    await happen(overlap.first, 7)
    (delivery,) = await claim(overlap.first)
    await second._look(START)

    async def claim_what_happens() -> list[WebhookDelivery]:
        await happen(overlap.second, 8)
        return await second.claim_webhook_deliveries(9, START, LEASE)

    outcome = await overlap.run(
        first.finish_webhook_delivery(delivery, tried()), claim_what_happens()
    )
    claimed = list(outcome.second)
    async with asyncio.timeout(10):
        while not claimed:
            await second.wait_for_webhook_deliveries(START, timedelta(hours=1))
            claimed = await second.claim_webhook_deliveries(9, START, LEASE)
    assert events(claimed) == [3]


async def test_a_pause_outlasts_what_was_under_way(storage: SqlStorage, database_url: str) -> None:
    await add_webhook(storage)
    await happen(storage, 7, 8)
    refused, taken = await claim(storage)
    deliveries, until = storage.deliveries, START + DAY
    assert await deliveries.retry_webhook_delivery(refused, tried(status=429), until, until)
    await succeed(storage, [taken])
    assert rows(database_url, "webhooks", "paused_until") == [(micros(until),)]
