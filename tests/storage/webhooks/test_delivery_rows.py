"""What changes of webhooks and resellers do to deliveries that are open."""

from server.storage.check import check
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerNumber,
    DeliveryNumber,
    EventNumber,
    ResellerNumber,
    TypesJson,
    WebhookNumber,
)
from server.storage.schema.webhook_tables import DeliveryRow
from server.storage.sql.statements import Transaction
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage
from server.storage.webhooks import delivery_rows
from tests.storage.databases import query
from tests.storage.records import ACTOR, RESELLER, START
from tests.storage.webhooks.records import add_webhook, happen, rows, transact

_NOW = micros(START)


async def _open(storage: SqlStorage, webhook: WebhookNumber, event: int, customer: int) -> None:
    """Writes a delivery that has failed three times."""

    def insert(transaction: Transaction) -> None:
        row = DeliveryRow(
            *(DeliveryNumber(10**6 + event), webhook, ResellerNumber(1), EventNumber(event)),
            *(CustomerNumber(customer), _NOW, _NOW, Count(3)),
        )
        transaction.insert(delivery_rows.INSERT, [row])

    await transact(storage, insert)


async def test_held_deliveries_are_due_again_once_released(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await add_webhook(storage)
    await happen(storage, 7)
    await _open(storage, webhook, 2, 7)
    await transact(storage, lambda each: delivery_rows.hold_deliveries(each, webhook))
    assert rows(database_url, "deliveries", "due_at", "tries") == [(None, 3)]
    await transact(storage, lambda each: delivery_rows.release_deliveries(each, webhook, _NOW))
    assert rows(database_url, "deliveries", "due_at", "tries") == [(_NOW, 0)]


async def test_until_it_is_verified_only_tests_are_released(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await add_webhook(storage, verified=False)
    await happen(storage, 7)
    await _open(storage, webhook, 2, 7)
    await transact(storage, lambda each: delivery_rows.hold_deliveries(each, webhook))
    await transact(storage, lambda each: delivery_rows.release_deliveries(each, webhook, _NOW))
    found = query(database_url, "SELECT event, due_at FROM deliveries ORDER BY event")
    assert found == [(1, _NOW), (2, None)]


async def test_a_reseller_that_is_held_gets_nothing(storage: SqlStorage, database_url: str) -> None:
    webhook = await add_webhook(storage)
    await happen(storage, 7)
    await _open(storage, webhook, 2, 7)
    await storage.administration.suspend_reseller(RESELLER, START)
    assert rows(database_url, "deliveries", "due_at") == [(None,)]
    await transact(storage, lambda each: delivery_rows.release_deliveries(each, webhook, _NOW))
    assert rows(database_url, "deliveries", "due_at") == [(None,)]
    await storage.administration.resume_reseller(RESELLER, START)
    assert rows(database_url, "deliveries", "due_at") == [(_NOW,)]


async def test_nothing_is_added_for_a_reseller_that_is_held(
    storage: SqlStorage, database_url: str
) -> None:
    """As by a server that has not heard of it yet."""
    webhook = await add_webhook(storage)
    await happen(storage, 7)
    await _open(storage, webhook, 2, 0)
    await storage.administration.suspend_reseller(RESELLER, START)
    test = await storage.webhooks.test_webhook(RESELLER, "whk1", START, ACTOR, None)
    assert test is not None
    await storage.webhooks.redeliver(RESELLER, "whk1", 2, None, START, ACTOR, None)
    assert rows(database_url, "deliveries", "due_at") == [(None,), (None,)]
    assert [each for each in check(database_url) if each.count] == []
    await storage.administration.resume_reseller(RESELLER, START)
    assert rows(database_url, "deliveries", "due_at") == [(_NOW,), (_NOW,)]


async def test_an_event_can_be_sent_again(storage: SqlStorage, database_url: str) -> None:
    webhook = await add_webhook(storage)
    await happen(storage, 7, 7)
    await _open(storage, webhook, 2, 7)
    for event in (2, 3, 3):
        await transact(
            storage,
            lambda each, event=event: delivery_rows.add_delivery(
                each, webhook, ResellerNumber(1), EventNumber(event), _NOW
            ),
        )
    found = query(database_url, "SELECT event, customer, tries FROM deliveries ORDER BY event")
    assert found == [(2, 7, 0), (3, 0, 0)]


async def test_rewinding_gives_everything_after_a_number_again(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await add_webhook(storage)
    await happen(storage, 7, 8, 9)
    query(database_url, "UPDATE webhooks SET position = 4")
    for event in (2, 4):
        await _open(storage, webhook, event, event + 5)
    await transact(
        storage, lambda each: delivery_rows.rewind_deliveries(each, webhook, EventNumber(2))
    )
    assert rows(database_url, "deliveries", "event") == [(2,)]
    assert rows(database_url, "webhooks", "position") == [(2,)]


async def test_the_backlog_is_all_that_is_yet_to_be_sent(
    storage: SqlStorage, database_url: str
) -> None:
    webhook = await add_webhook(storage)
    await happen(storage, 7, 7, 8, 7)
    await _open(storage, webhook, 2, 7)
    query(database_url, "UPDATE webhooks SET position = 3")

    async def backlog(types: str) -> int:
        found: int = await transact(
            storage, lambda each: delivery_rows.count_backlog(each, webhook, TypesJson(types))
        )
        return found

    assert await backlog("[]") == 4
    assert await backlog('["customer.created"]') == 1


async def test_deleting_leaves_nothing(storage: SqlStorage, database_url: str) -> None:
    webhook = await add_webhook(storage)
    other = await add_webhook(storage, "whk2")
    await _open(storage, webhook, 1, 7)
    await _open(storage, other, 2, 7)
    await transact(storage, lambda each: delivery_rows.delete_deliveries(each, webhook))
    assert rows(database_url, "deliveries", "webhook") == [(other,)]
