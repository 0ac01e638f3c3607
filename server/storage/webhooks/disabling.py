"""Disabling webhooks that take nothing any more."""

from sqlalchemy import bindparam, false, update

from server.domain.access import SERVICE, Actor
from server.domain.events import EventType
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import webhook_json
from server.storage.schema.tables import WebhookNumber
from server.storage.schema.webhook_tables import webhooks
from server.storage.sql.statements import IDS, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.webhooks.delivery_rows import DISABLED, hold_deliveries
from server.storage.webhooks.rows import BY_NUMBER, webhook

_w = webhooks.c

_DISABLE = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS))
    .values(
        enabled=False,
        disable_reason=bindparam("reason"),
        updated_at=bindparam("now"),
        revision=_w.revision + 1,
        alert=bindparam("alert"),
        due_at=bindparam("due_at"),
        claimed=false(),
        attempts=0,
        deferral=None,
    ),
    *("reason", "now", "alert", "due_at"),
)

FAILED_FOR_LONG = "No delivery has succeeded for five days."
GONE = "The receiver answered 410 Gone."
# Whoever adds a webhook chooses its receiver's answers and whom an e-mail goes to: one whose receiver
# is gone is told of only if it has been as it is for a day.
_TOLD_AFTER = 86_400_000_000


def disable(transaction: Transaction, number: WebhookNumber, reason: str, now: Micros) -> None:
    """Disables a webhook, whose row is locked; its reseller and the operator are to be told."""
    (before,) = transaction.fetch(BY_NUMBER, [number])
    is_told = reason != GONE or now - before.updated_at >= _TOLD_AFTER
    transaction.run(
        *(_DISABLE, [number]),
        reason=reason,
        now=now,
        alert=DISABLED if is_told else None,
        due_at=now if is_told else None,
    )
    hold_deliveries(transaction, number)
    (row,) = transaction.fetch(BY_NUMBER, [number])
    data = webhook_json(webhook(transaction, row))
    log(
        transaction,
        NewEvent(row.reseller, EventType.WEBHOOK_DISABLED, now, Actor(SERVICE), data),
    )
    transaction.has_deliveries = True
