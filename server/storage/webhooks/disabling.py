"""Disabling webhooks that take nothing any more."""

from sqlalchemy import bindparam, false, update

from server.domain.access import SERVICE, Actor
from server.domain.events import EventType
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import webhook_json
from server.storage.schema.tables import WebhookNumber, webhooks
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
        alert=DISABLED,
        due_at=bindparam("now"),
        claimed=false(),
        attempts=0,
        deferral=None,
    ),
    *("reason", "now"),
)


def disable(transaction: Transaction, number: WebhookNumber, reason: str, now: Micros) -> None:
    """Disables a webhook, whose row is locked; its reseller and the operator are to be told."""
    transaction.run(_DISABLE, [number], reason=reason, now=now)
    hold_deliveries(transaction, number)
    (row,) = transaction.fetch(BY_NUMBER, [number])
    data = webhook_json(webhook(transaction, row))
    log(
        transaction,
        NewEvent(row.reseller, EventType.WEBHOOK_DISABLED, now, Actor(SERVICE), data),
    )
    transaction.has_deliveries = True
