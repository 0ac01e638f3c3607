"""Webhooks and events for tests of deliveries, written as their own storage writes them."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete

from server.domain.access import Actor
from server.domain.events import EventType
from server.domain.webhooks import ContentType, Webhook, WebhookState
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import role_json, webhook_json
from server.storage.numbers import row_numbers
from server.storage.resellers import require_reseller
from server.storage.schema.access_tables import RoleBindingRow, role_bindings
from server.storage.schema.codes import CONTENT_TYPE_CODES
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerNumber,
    Email,
    EventNumber,
    ResellerId,
    RoleNumber,
    SigningSecret,
    SubjectId,
    TypesJson,
    WebhookId,
    WebhookNumber,
)
from server.storage.schema.webhook_tables import WebhookRow, webhooks
from server.storage.sql.statements import IDS, Insert, Statement, Transaction
from server.storage.sql.times import Micros, micros
from server.storage.storage import SqlStorage
from server.storage.webhooks.delivery_rows import add_test_delivery
from tests.storage.databases import query
from tests.storage.records import RESELLER, START

SECRET = "whsec_" + "c2VjcmV0" * 4
_INSERT = Insert(webhooks, WebhookRow)
_INSERT_ROLE = Insert(role_bindings, RoleBindingRow)
_TAKE_ROLE = Statement(
    delete(role_bindings).where(
        role_bindings.c.subject_id.in_(IDS),
        role_bindings.c.reseller_id == bindparam("reseller_id"),
    ),
    "reseller_id",
)


async def transact(storage: SqlStorage, step: Any) -> Any:
    """Runs `step(transaction)` in a transaction of its own."""

    def handler(transaction: Transaction, batch: Sequence[None]) -> list[Any]:
        return [step(transaction) for _ in batch]

    return await storage._writes.submit(handler, None)


async def add_webhook(
    storage: SqlStorage,
    id_: str = "whk1",
    url: str = "https://example.com/hook",
    *,
    reseller_id: str = RESELLER,
    types: Sequence[str] = (),
    verified: bool = True,
    alert_email: str | None = None,
    now: datetime = START,
) -> WebhookNumber:
    """Adds a webhook that gets what happens from now on; one that is not verified gets a test."""

    def add(transaction: Transaction) -> WebhookNumber:
        reseller = require_reseller(transaction, reseller_id)
        (number,) = row_numbers(transaction, webhooks, 1)
        at = micros(now)
        webhook = WebhookNumber(number)

        def write(last: EventNumber) -> None:
            row = WebhookRow(
                n=webhook,
                id=WebhookId(id_),
                reseller=reseller,
                url=url,
                types=TypesJson(json.dumps(list(types))),
                description="",
                content_type=CONTENT_TYPE_CODES[ContentType.CLOUDEVENTS],
                alert_email=None if alert_email is None else Email(alert_email),
                enabled=True,
                disable_reason="",
                secret=SigningSecret(SECRET),
                old_secret=None,
                old_secret_until=None,
                created_at=at,
                updated_at=at,
                revision=Count(1),
                verified_at=at if verified else None,
                position=last,
            )
            transaction.insert(_INSERT, [row])
            if not verified:
                add_test_delivery(transaction, webhook, reseller, last, at)

        happened = EventType.ACCESS_GRANTED if verified else EventType.WEBHOOK_TEST
        data = role_json("subject", "billing.accounts.viewer", at)
        if verified:
            hold_role(transaction, reseller_id, "subject", at)
        if not verified:
            state, type_ = WebhookState.ENABLED, ContentType.CLOUDEVENTS
            webhook_shown = Webhook(
                id_, reseller_id, url, tuple(types), "", type_, alert_email, state, "", now, now
            )
            data = webhook_json(webhook_shown)
        log(transaction, NewEvent(reseller, happened, at, Actor("operator"), data, then=write))
        transaction.has_deliveries = True
        return webhook

    number: WebhookNumber = await transact(storage, add)
    return number


def hold_role(transaction: Transaction, reseller_id: str, subject_id: str, at: Micros) -> None:
    """Has a subject hold the role that an event tells of."""
    transaction.run(_TAKE_ROLE, [subject_id], reseller_id=reseller_id)
    (number,) = row_numbers(transaction, role_bindings, 1)
    row = RoleBindingRow(
        *(RoleNumber(number), SubjectId(subject_id), ResellerId(reseller_id)),
        *("billing.accounts.viewer", at),
    )
    transaction.insert(_INSERT_ROLE, [row])


async def happen(
    storage: SqlStorage,
    *customers: int,
    reseller_id: str = RESELLER,
    type_: EventType = EventType.ACCESS_GRANTED,
    now: datetime = START,
) -> None:
    """Writes an event for each customer, in one transaction; 0 for one of none."""

    def write(transaction: Transaction) -> None:
        reseller = require_reseller(transaction, reseller_id)
        at = micros(now)
        for customer in customers:
            data = role_json(f"subject-{customer}", "billing.accounts.viewer", at)
            number = CustomerNumber(customer) if customer else None
            if type_ is EventType.ACCESS_GRANTED and not customer:
                hold_role(transaction, reseller_id, f"subject-{customer}", at)
            log(transaction, NewEvent(reseller, type_, at, Actor("operator"), data, number))

    await transact(storage, write)


def rows(database_url: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Returns columns of all rows of a table, by its number."""
    return query(database_url, f"SELECT {', '.join(columns)} FROM {table} ORDER BY n")
