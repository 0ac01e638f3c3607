"""Webhooks that are changed, deleted or given a new secret while something is on its way to them."""

from datetime import timedelta

from server.storage.check import check
from server.storage.interface import DeliveryAttempt, WebhookDelivery
from server.storage.storage import SqlStorage
from tests.storage.overlap import Overlap
from tests.storage.records import DAY, LEASE, RESELLER, key
from tests.storage.webhooks.records import rows
from tests.storage.webhooks.test_webhooks import (
    ACTOR,
    LATER,
    create,
    created,
    delete,
    rotate,
    update,
)


async def claimed(storage: SqlStorage) -> WebhookDelivery:
    """Claims the one delivery that is due."""
    # Another process may have made it due, whose word has not come yet.
    storage.deliveries.look_again()
    await storage.deliveries._look(LATER)
    (delivery,) = await storage.deliveries.claim_webhook_deliveries(10, LATER, LEASE)
    return delivery


TRIED = DeliveryAttempt(LATER, timedelta(milliseconds=20), 204, "")


async def test_a_test_that_the_old_url_answers_proves_nothing_of_the_new_one(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await created(storage)
    old = await claimed(storage)
    await update(storage, webhook, url="https://example.org/")
    assert not await storage.deliveries.finish_webhook_delivery(old, TRIED)
    assert rows(database_url, "webhooks", "verified_at") == [(None,)]
    new = await claimed(storage)
    assert new.url == "https://example.org/"
    assert await storage.deliveries.finish_webhook_delivery(new, TRIED)
    verified = await storage.webhooks.get_webhook(RESELLER, webhook.id)
    assert verified
    assert verified.verified
    assert verified.last_success_at


async def test_what_is_on_its_way_while_the_webhook_is_deleted_is_over(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await created(storage)
    delivery = await claimed(storage)
    assert await delete(storage, webhook)
    assert not await storage.deliveries.finish_webhook_delivery(delivery, TRIED)
    # Nor does it end the delivery of another webhook, whatever number that has.
    await created(storage)
    again = await claimed(storage)
    assert not await storage.deliveries.finish_webhook_delivery(delivery, TRIED)
    assert await storage.deliveries.finish_webhook_delivery(again, TRIED)
    assert len(rows(database_url, "attempts", "n")) == 1


async def test_a_delete_and_an_outcome_at_once_leave_nothing(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    webhook = await created(storage)
    delivery = await claimed(storage)
    outcome = await overlap.run(
        overlap.first.deliveries.finish_webhook_delivery(delivery, TRIED),
        delete(overlap.second, webhook),
    )
    assert (outcome.first, outcome.second, outcome.waited) == (True, True, True)
    for table in ("webhooks", "deliveries", "attempts"):
        assert rows(database_url, table, "n") == []


async def test_a_rotation_during_a_delivery_disturbs_neither(
    storage: SqlStorage, overlap: Overlap, database_url: str
) -> None:
    webhook = await created(storage)
    delivery = await claimed(storage)
    outcome = await overlap.run(
        rotate(overlap.first, webhook, "whsec_new"),
        overlap.second.deliveries.finish_webhook_delivery(delivery, TRIED),
    )
    assert outcome.waited
    assert outcome.second is True
    ((secret, old, verified_at),) = rows(
        database_url, "webhooks", "secret", "old_secret", "verified_at"
    )
    assert (secret, old) == ("whsec_new", delivery.secrets[0])
    assert verified_at
    # The rotation is an event, and signed by both.
    assert (await claimed(storage)).secrets == ("whsec_new", delivery.secrets[0])


async def test_what_is_disabled_while_an_event_is_on_its_way_gets_no_more(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await created(storage)
    delivery = await claimed(storage)
    await update(storage, webhook, enabled=False)
    await storage.deliveries.retry_webhook_delivery(delivery, TRIED, LATER + LEASE)
    assert await storage.deliveries.claim_webhook_deliveries(10, LATER + DAY, LEASE) == []
    await update(storage, webhook, enabled=True)
    (again,) = await storage.deliveries.claim_webhook_deliveries(10, LATER + DAY, LEASE)
    assert again.url == webhook.url


async def test_the_old_secret_signs_no_longer_than_it_should(storage: SqlStorage) -> None:
    webhook = await created(storage)
    await rotate(storage, webhook, "whsec_new")  # for a day

    async def secrets(after: timedelta) -> list[int]:
        found = await storage.deliveries.claim_webhook_deliveries(10, LATER + after, LEASE)
        return [len(each.secrets) for each in found]

    assert await secrets(DAY - LEASE) == [2]
    assert await secrets(DAY) == [1]


async def test_the_check_finds_nothing_wrong_with_what_was_changed(
    storage: SqlStorage, database_url: str
) -> None:
    webhook, gone = await created(storage), await created(storage)
    await create(storage, key("c"))
    await storage.webhooks.test_webhook(RESELLER, webhook.id, LATER, ACTOR, key("t"))
    await rotate(storage, webhook, "whsec_new")
    await storage.deliveries.claim_webhook_deliveries(10, LATER, LEASE)
    await update(storage, webhook, url="https://example.org/", enabled=False)
    await update(storage, webhook, enabled=True)
    await delete(storage, gone, key("d"))
    assert [each for each in check(database_url) if each.count] == []
