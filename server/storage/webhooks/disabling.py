"""Disabling webhooks that take nothing any more."""

import json

from sqlalchemy import bindparam, false, select, update

from server.domain.access import SERVICE, Actor
from server.domain.events import EventType
from server.domain.webhooks import Webhook, WebhookState
from server.storage import resellers
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import webhook_json
from server.storage.schema.codes import CONTENT_TYPES
from server.storage.schema.tables import WebhookNumber, WebhookRow, webhooks
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, from_micros, from_micros_or_none
from server.storage.webhooks.delivery_rows import hold_deliveries
from server.storage.webhooks.health import DISABLED

_w = webhooks.c

_READ = Query(WebhookRow, select(*columns(webhooks, WebhookRow)).where(_w.n.in_(IDS)))
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
    (row,) = transaction.fetch(_READ, [number])
    data = webhook_json(_webhook(transaction, row))
    log(
        transaction,
        NewEvent(row.reseller, EventType.WEBHOOK_DISABLED, now, Actor(SERVICE), data),
    )
    transaction.has_deliveries = True


def _webhook(transaction: Transaction, row: WebhookRow) -> Webhook:
    return Webhook(
        id=row.id,
        reseller_id=resellers.reseller_id(transaction, row.reseller),
        url=row.url,
        types=tuple(json.loads(row.types)),
        description=row.description,
        content_type=CONTENT_TYPES[row.content_type],
        alert_email=row.alert_email,
        state=WebhookState.ENABLED if row.enabled else WebhookState.DISABLED,
        disable_reason=row.disable_reason,
        created_at=from_micros(row.created_at),
        updated_at=from_micros(row.updated_at),
        revision=row.revision,
        verified=row.verified_at is not None,
        last_success_at=from_micros_or_none(row.last_success_at),
    )
