"""What breaks the invariants of webhooks and deliveries, in a database that has some of each kind."""

from datetime import timedelta

from server.storage.interface import DeliveryAttempt
from server.storage.storage import SqlStorage
from server.storage.webhooks.delivery_rows import hold_deliveries
from tests.storage.records import LEASE, START
from tests.storage.webhooks.records import add_webhook, happen, transact

# For each invariant statements, each of which breaks it by itself.
BREAKS = {
    "a webhook is of a known reseller, and not ahead of its log": [
        "UPDATE webhooks SET reseller = 99",
        "UPDATE webhooks SET position = 999",
        "DELETE FROM event_logs",
    ],
    "a webhook is enabled, or says why it is not": ["UPDATE webhooks SET disable_reason = 'why'"],
    "a webhook has a former secret and its end, or neither": [
        "UPDATE webhooks SET old_secret = 'old'",
        "UPDATE webhooks SET old_secret_until = 1",
    ],
    "what is to be told of a webhook fits its state, and is due": [
        "UPDATE webhooks SET due_at = NULL",
        "UPDATE webhooks SET alert = 'warning'",
        "UPDATE webhooks SET failing_since = NULL",
        "UPDATE webhooks SET alert = 'disabled' WHERE alert IS NOT NULL",
        "UPDATE webhooks SET alert = 'another' WHERE alert IS NOT NULL",
    ],
    "a delivery has its webhook, of the same reseller": [
        "DELETE FROM webhooks",
        "UPDATE deliveries SET reseller = 2",
    ],
    "a delivery has its event, unless that is cleared": [
        "UPDATE deliveries SET event = event + 999"
    ],
    "a delivery is due, or held with its webhook": [
        "UPDATE deliveries SET due_at = NULL",
        "UPDATE deliveries SET due_at = 1",
        "UPDATE webhooks SET verified_at = NULL",
        "UPDATE webhooks SET enabled = TRUE",
    ],
    "a customer's delivery is of what its webhook has come to": [
        "UPDATE webhooks SET position = 1"
    ],
    "a delivery that is claimed is due, and is attempted": [
        "UPDATE deliveries SET attempts = 0",
        "UPDATE deliveries SET claimed = TRUE WHERE due_at IS NULL",
    ],
    "a delivery that is put off has failed": ["UPDATE deliveries SET tries = 0"],
}


async def use_webhooks(storage: SqlStorage) -> None:
    """One that works, one that fails, one that was not tested, one disabled; some claimed."""
    deliveries = storage.deliveries
    await add_webhook(storage, "whk1", types=["access.revoked"])
    await add_webhook(storage, "whk2")
    await add_webhook(storage, "whk3", verified=False)
    disabled = await add_webhook(storage, "whk4", types=["access.granted"])
    await happen(storage, 900_001, 900_001, 900_002, 0)
    await deliveries._look(START)
    claimed = await deliveries.claim_webhook_deliveries(50, START, LEASE)
    attempt = DeliveryAttempt(START, timedelta(), 500, "")
    for each in claimed[::2]:
        assert await deliveries.retry_webhook_delivery(each, attempt, START + LEASE)
    reason = "UPDATE webhooks SET enabled = FALSE, disable_reason = 'Disabled.' WHERE id = 'whk4'"

    def disable(transaction: object) -> None:
        transaction._cursor.execute(reason)  # type: ignore[attr-defined]
        hold_deliveries(transaction, disabled)  # type: ignore[arg-type]

    await transact(storage, disable)
