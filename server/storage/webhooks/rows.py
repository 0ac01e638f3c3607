"""Webhooks from and to their rows."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.webhooks import Webhook, WebhookState
from server.storage import numbers, resellers
from server.storage.schema.codes import CONTENT_TYPE_CODES, CONTENT_TYPES
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    LATEST_WEBHOOK,
    Email,
    EventNumber,
    ResellerNumber,
    SigningSecret,
    TypesJson,
    WebhookId,
    WebhookNumber,
    retention,
)
from server.storage.schema.webhook_tables import WebhookRow, webhooks
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction, columns
from server.storage.sql.times import from_micros, from_micros_or_none, micros

_INSERT = Insert(webhooks, WebhookRow)
_BY_ID = select(*columns(webhooks, WebhookRow)).where(webhooks.c.id.in_(IDS))
BY_ID = Query(WebhookRow, _BY_ID)
LOCK = Query(
    WebhookRow,
    # In one order, so that two batches don't wait for each other.
    _BY_ID.order_by(webhooks.c.n).with_for_update(),
)
BY_NUMBER = Query(WebhookRow, select(*columns(webhooks, WebhookRow)).where(webhooks.c.n.in_(IDS)))
_SET = (
    *("url", "types", "description", "content_type", "alert_email", "enabled", "disable_reason"),
    *("updated_at", "revision", "verified_at"),
)
_UPDATE = Statement(
    update(webhooks)
    .where(webhooks.c.n.in_(IDS))
    .values({webhooks.c[name]: bindparam(name) for name in _SET}),
    *_SET,
)


class _Number(NamedTuple):
    n: int


# PostgreSQL's sequence gives no number twice either.
_NEXT_ON_SQLITE = Query(
    _Number,
    update(retention)
    .where(retention.c.name == LATEST_WEBHOOK)
    .values(value=retention.c.value + 1)
    .returning(retention.c.value),
)


def webhook(transaction: Transaction, row: WebhookRow) -> Webhook:
    """Returns the webhook in a row."""
    return Webhook(
        id=row.id,
        reseller_id=resellers.reseller_id(transaction, row.reseller),
        url=row.url,
        types=tuple(from_json(row.types)),
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


def insert_webhook(
    transaction: Transaction, made: Webhook, reseller: ResellerNumber, secret: str
) -> WebhookNumber:
    """Inserts a webhook and returns its number, which no other one ever had.

    Its position in the log is to be set once the events of its creation are written.
    """
    if transaction.is_sqlite:
        ((number,),) = transaction.fetch(_NEXT_ON_SQLITE)
    else:
        (number,) = numbers.draw_numbers(transaction, 1)
    n = WebhookNumber(number)
    row = WebhookRow(
        n=n,
        id=WebhookId(made.id),
        reseller=reseller,
        url=made.url,
        types=_types_json(made.types),
        description=made.description,
        content_type=CONTENT_TYPE_CODES[made.content_type],
        alert_email=None if made.alert_email is None else Email(made.alert_email),
        enabled=made.state is WebhookState.ENABLED,
        disable_reason=made.disable_reason,
        secret=SigningSecret(secret),
        old_secret=None,
        old_secret_until=None,
        created_at=micros(made.created_at),
        updated_at=micros(made.updated_at),
        revision=Count(made.revision),
        verified_at=None,
        position=EventNumber(0),
    )
    transaction.insert(_INSERT, [row])
    return n


def update_webhook(transaction: Transaction, row: WebhookRow, after: Webhook) -> None:
    """Writes what its reseller may set of a webhook, with its state and revision."""
    transaction.run(
        _UPDATE,
        [row.n],
        url=after.url,
        types=_types_json(after.types),
        description=after.description,
        content_type=CONTENT_TYPE_CODES[after.content_type],
        alert_email=after.alert_email,
        enabled=after.state is WebhookState.ENABLED,
        disable_reason=after.disable_reason,
        updated_at=micros(after.updated_at),
        revision=after.revision,
        verified_at=row.verified_at if after.verified else None,
    )


def _types_json(types: Sequence[str]) -> TypesJson:
    return TypesJson(to_json(types))
