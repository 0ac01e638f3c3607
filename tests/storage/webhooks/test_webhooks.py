"""Webhooks as resellers change them, on both databases, also at the same time."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from server.domain.access import Actor
from server.domain.errors import BillingError, Reason
from server.domain.webhook_settings import (
    MOST_WEBHOOKS,
    WebhookChanges,
    new_secret,
    new_webhook,
)
from server.domain.webhooks import Webhook, WebhookState
from server.storage.interface import IdempotencyKey, WebhookWithSecret
from server.storage.storage import SqlStorage
from server.storage.webhooks.delivery_rows import MOST_LOOKED_AT
from tests.storage.databases import query
from tests.storage.overlap import Overlap
from tests.storage.records import DAY, RESELLER, SECOND_RESELLER, START, key, records
from tests.storage.webhooks.records import rows

ACTOR = Actor("editor", "key", "request")
URL = WebhookChanges(url="https://example.com/hook")
LATER = START + timedelta(seconds=1)


def create(
    storage: SqlStorage, use: IdempotencyKey | None = None, reseller_id: str = RESELLER
) -> Any:
    return storage.webhooks.create_webhook(
        new_webhook(reseller_id, URL, START), new_secret(), ACTOR, use
    )


async def created(storage: SqlStorage) -> Webhook:
    made = await create(storage)
    assert made
    webhook: Webhook = made.webhook
    return webhook


def update(
    storage: SqlStorage, webhook: Webhook, revision: int | None = None, **changes: Any
) -> Any:
    return storage.webhooks.update_webhook(
        *(RESELLER, webhook.id, WebhookChanges(**changes), revision, LATER, ACTOR, None)
    )


def delete(storage: SqlStorage, webhook: Webhook, use: IdempotencyKey | None = None) -> Any:
    return storage.webhooks.delete_webhook(RESELLER, webhook.id, None, LATER, ACTOR, use)


def rotate(storage: SqlStorage, webhook: Webhook, secret: str) -> Any:
    return storage.webhooks.rotate_secret(
        *(RESELLER, webhook.id, secret, DAY, LATER, ACTOR, None),
    )


def verified(database_url: str) -> None:
    query(database_url, "UPDATE webhooks SET verified_at = 1")
    query(database_url, "DELETE FROM deliveries")


async def test_a_webhook_is_kept_as_it_was_made(storage: SqlStorage, database_url: str) -> None:
    made = await create(storage, key("a"))
    assert await storage.webhooks.get_webhook(RESELLER, made.webhook.id) == made.webhook
    assert await storage.webhooks.get_webhook(SECOND_RESELLER, made.webhook.id) is None
    assert await create(storage, key("a")) == made
    # It gets what comes after its creation; the test is on its way.
    log = query(database_url, "SELECT type, number FROM events ORDER BY number")
    (position,) = rows(database_url, "webhooks", "position")[0]
    ((event, customer),) = rows(database_url, "deliveries", "event", "customer")
    assert (position, event, customer) == (log[-2][1], log[-1][1], 0)


@pytest.mark.parametrize("others", [0, 1])
async def test_two_creates_at_once_make_no_21st(
    storage: SqlStorage, overlap: Overlap, others: int
) -> None:
    for _ in range(MOST_WEBHOOKS - 1 - others):
        await create(storage)
    outcome = await overlap.run(create(overlap.first), create(overlap.second))
    assert outcome.waited
    assert isinstance(outcome.first, WebhookWithSecret)
    if others:
        assert isinstance(outcome.second, WebhookWithSecret)
    else:
        assert isinstance(outcome.second, BillingError)
        assert outcome.second.reason is Reason.WEBHOOK_LIMIT_REACHED
    assert len(await storage.webhooks.list_webhooks(RESELLER, 100, None)) == MOST_WEBHOOKS


async def test_creates_in_one_batch_make_no_21st(storage: SqlStorage, overlap: Overlap) -> None:
    outcomes = await overlap.in_one_batch(*(create(overlap.second) for _ in range(25)))
    assert sum(isinstance(each, WebhookWithSecret) for each in outcomes) == MOST_WEBHOOKS
    await create(storage, reseller_id=SECOND_RESELLER)


async def test_of_two_creates_with_one_key_one_is_done(
    storage: SqlStorage, overlap: Overlap
) -> None:
    outcome = await overlap.run(create(overlap.first, key("a")), create(overlap.second, key("a")))
    assert outcome.waited
    assert outcome.first == outcome.second
    assert len(await storage.webhooks.list_webhooks(RESELLER, 100, None)) == 1


async def test_of_two_updates_with_one_revision_one_is_done(
    storage: SqlStorage, overlap: Overlap
) -> None:
    webhook = await created(storage)
    outcome = await overlap.run(
        update(overlap.first, webhook, 1, description="first"),
        update(overlap.second, webhook, 1, description="second"),
    )
    assert outcome.waited
    assert outcome.first.revision == 2
    assert isinstance(outcome.second, BillingError)
    assert outcome.second.reason is Reason.ETAG_STALE
    assert await storage.webhooks.get_webhook(RESELLER, webhook.id) == outcome.first


async def test_updates_in_one_batch_see_each_other(storage: SqlStorage, overlap: Overlap) -> None:
    webhook = await created(storage)
    outcomes = await overlap.in_one_batch(
        update(overlap.second, webhook, description="first"),
        update(overlap.second, webhook, types=("customer.created",)),
        update(overlap.second, webhook, revision=2, description="stale"),
        update(overlap.second, webhook, revision=3, types=("customer.created",)),
    )
    assert [
        each.reason if isinstance(each, BillingError) else each.revision for each in outcomes
    ] == [
        *(2, 3, Reason.ETAG_STALE, 3),
    ]
    assert outcomes[1].description == "first"


async def test_what_is_tested_and_deleted_in_one_batch_is_sent_nothing(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    webhook = await created(storage)
    event, deleted = await overlap.in_one_batch(
        overlap.second.webhooks.test_webhook(RESELLER, webhook.id, LATER, ACTOR, None),
        delete(overlap.second, webhook),
    )
    assert event
    assert deleted
    assert rows(database_url, "deliveries", "n") == []


async def test_an_update_finds_what_is_being_deleted_gone(
    storage: SqlStorage, overlap: Overlap
) -> None:
    webhook = await created(storage)
    outcome = await overlap.run(
        delete(overlap.first, webhook), update(overlap.second, webhook, description="late")
    )
    assert outcome == (True, None, True)


async def test_of_two_deletes_one_finds_it(storage: SqlStorage, overlap: Overlap) -> None:
    webhook = await created(storage)
    outcome = await overlap.run(
        delete(overlap.first, webhook, key("a")), delete(overlap.second, webhook, key("b"))
    )
    assert outcome == (True, False, True)
    assert await delete(storage, webhook, key("a"))


async def test_a_delete_waits_for_an_update(storage: SqlStorage, overlap: Overlap) -> None:
    webhook = await created(storage)
    outcome = await overlap.run(
        update(overlap.first, webhook, url="https://example.org/"), delete(overlap.second, webhook)
    )
    assert (outcome.waited, outcome.second) == (True, True)
    assert await storage.webhooks.get_webhook(RESELLER, webhook.id) is None


async def test_two_rotations_at_once_leave_two_secrets(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    webhook = await created(storage)
    outcome = await overlap.run(
        rotate(overlap.first, webhook, "whsec_1"), rotate(overlap.second, webhook, "whsec_2")
    )
    assert outcome.waited
    assert rows(database_url, "webhooks", "secret", "old_secret") == [("whsec_2", "whsec_1")]
    assert outcome.second.webhook.revision == 3


async def test_a_deleted_webhook_s_number_is_given_to_no_other(
    storage: SqlStorage, database_url: str
) -> None:
    made = await create(storage, key("a"))
    ((first,),) = rows(database_url, "webhooks", "n")
    await delete(storage, made.webhook)
    await created(storage)
    ((second,),) = rows(database_url, "webhooks", "n")
    assert second > first
    assert await create(storage, key("a")) is None


async def test_tests_with_one_key_are_one(storage: SqlStorage, overlap: Overlap) -> None:
    webhook = await created(storage)

    def test(process: SqlStorage) -> Any:
        return process.webhooks.test_webhook(RESELLER, webhook.id, LATER, ACTOR, key("t"))

    outcome = await overlap.run(test(overlap.first), test(overlap.second))
    assert outcome.first == outcome.second
    in_one = await overlap.in_one_batch(test(overlap.second), test(overlap.second))
    assert in_one == [outcome.first] * 2


async def test_what_is_sent_again_is_in_the_backlog(storage: SqlStorage, database_url: str) -> None:
    webhook = await created(storage)
    verified(database_url)
    for number in range(3):
        await update(storage, webhook, description=f"{number}")
    ((last,),) = query(database_url, "SELECT max(number) FROM events")

    async def backlog() -> int:
        return (await storage.webhooks.count_backlog([webhook.id]))[webhook.id]

    assert await backlog() == 3
    query(database_url, "UPDATE webhooks SET position = :last", last=last)
    assert await backlog() == 0

    def again(event: int | None, after: int | None) -> Any:
        return storage.webhooks.redeliver(RESELLER, webhook.id, event, after, LATER, ACTOR, None)

    await again(last, None)
    assert await backlog() == 1
    await again(None, last - 2)
    assert await backlog() == 3  # one of them is on its way already


async def test_a_webhook_that_wants_tests_alone(storage: SqlStorage, database_url: str) -> None:
    webhook = await created(storage)
    changed = await update(storage, webhook, types=("webhook.test",))
    assert changed.types == ("webhook.test",)
    assert await storage.webhooks.count_backlog([webhook.id]) == {webhook.id: 1}
    verified(database_url)
    await update(storage, webhook, description="nothing for it")
    assert await storage.webhooks.count_backlog([webhook.id]) == {webhook.id: 0}
    claimed = await storage.deliveries.claim_webhook_deliveries(10, LATER, DAY)
    assert claimed == []


async def test_pages_hold_enabled_and_disabled_webhooks_in_order(storage: SqlStorage) -> None:
    first, second = await created(storage), await created(storage)
    disabled = await update(storage, first, enabled=False)
    assert disabled.state is WebhookState.DISABLED
    page = await storage.webhooks.list_webhooks(RESELLER, 1, None)
    rest = await storage.webhooks.list_webhooks(RESELLER, 10, page[0].cursor)
    assert records([*page, *rest]) == [second, disabled]
    assert await storage.webhooks.list_webhooks("no-such", 10, None) == []


async def test_changes_of_two_processes_leave_a_consistent_database(
    storage: SqlStorage, other_process: SqlStorage, database_url: str
) -> None:
    webhooks = [await created(storage) for _ in range(4)]
    calls = [
        update(process, webhook, url=f"https://example.com/{number}", enabled=number % 2 == 0)
        for number in range(4)
        for webhook in webhooks
        for process in (storage, other_process)
    ]
    await asyncio.gather(*calls)
    # Each has one test on its way at most: that of its URL.
    found = query(database_url, "SELECT webhook, count(*) FROM deliveries GROUP BY webhook")
    assert all(count == 1 for _, count in found)


async def test_a_backlog_looks_at_a_bounded_part_of_the_log(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await created(storage)
    verified(database_url)
    for number in (MOST_LOOKED_AT, MOST_LOOKED_AT + 2):
        query(
            database_url,
            "INSERT INTO events (reseller, number, type, created_at, subject, data) "
            "SELECT reseller, position + :number, 1, 1, '', '' FROM webhooks",
            number=number,
        )
    assert await storage.webhooks.count_backlog([webhook.id]) == {webhook.id: 1}
