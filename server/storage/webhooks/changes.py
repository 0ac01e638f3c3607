"""Changing and deleting webhooks, and their secrets; each with its event."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update

from server.domain.events import EventType
from server.domain.webhook_settings import (
    WebhookChanges,
    as_changed,
    change_types,
    changed,
    require_revision,
)
from server.domain.webhooks import Webhook, WebhookState
from server.storage.interface.webhooks import WebhookWithSecret
from server.storage.keys import KeyedRequest, Keys
from server.storage.schema.codes import WEBHOOK_TARGET
from server.storage.schema.tables import WebhookNumber, events
from server.storage.schema.webhook_tables import WebhookRow, attempts, deliveries, webhooks
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros
from server.storage.webhooks.batch import (
    About,
    Locked,
    answer_locked,
    log_change,
    log_test,
    row_by_key,
    webhook_by_key,
    with_secret,
)
from server.storage.webhooks.delivery_rows import (
    TEST,
    delete_deliveries,
    hold_deliveries,
    release_deliveries,
)
from server.storage.webhooks.rows import update_webhook, webhook

# Attempts of a deleted webhook that one transaction clears.
ATTEMPTS_AT_ONCE = 500

_d = deliveries.c


# What is on its way to an old URL counts for nothing: a later attempt has overtaken it.
_FENCE = Statement(
    update(deliveries)
    .where(_d.webhook.in_(IDS))
    .values(due_at=None, claimed=False, attempts=_d.attempts + 1, tries=0, deferral=None)
)
_DROP_TESTS = Statement(
    delete(deliveries).where(
        _d.webhook.in_(IDS),
        select(events.c.number)
        .where(events.c.reseller == _d.reseller, events.c.number == _d.event, events.c.type == TEST)
        .exists(),
    )
)
_ROTATE = Statement(
    update(webhooks)
    .where(webhooks.c.n.in_(IDS))
    .values(
        secret=bindparam("secret"),
        old_secret=bindparam("old_secret"),
        old_secret_until=bindparam("until"),
        updated_at=bindparam("at"),
        revision=bindparam("revision"),
    ),
    *("secret", "old_secret", "until", "at", "revision"),
)
_DELETE = Statement(delete(webhooks).where(webhooks.c.n.in_(IDS)))


class _Attempt(NamedTuple):
    n: int


_some_attempts = (
    select(attempts.c.n)
    .where(attempts.c.webhook.in_(IDS))
    .order_by(attempts.c.n)
    .limit(ATTEMPTS_AT_ONCE)
)
_CLEAR_ATTEMPTS = Query(
    _Attempt, delete(attempts).where(attempts.c.n.in_(_some_attempts)).returning(attempts.c.n)
)


class Update(NamedTuple):
    """What to set of a webhook, if it has the revision."""

    changes: WebhookChanges
    revision: int | None
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


def update_webhooks(
    transaction: Transaction, batch: Sequence[Update]
) -> list[Webhook | Exception | None]:
    """Changes webhooks; see WebhookStorage.update_webhook."""

    def change(locked: Locked, keys: Keys, request: Update, row: WebhookRow) -> Webhook:
        before = webhook(transaction, row)
        require_revision(before, request.revision)
        keys.changed(request.use, WEBHOOK_TARGET, row.n)
        after = changed(before, request.changes, from_micros(request.about.now))
        if after is before:
            return before
        update_webhook(transaction, row, after)
        locked.has_changed(row)
        for type_ in change_types(before, after):
            log_change(transaction, row.reseller, type_, after, request.about)
        _redirect(transaction, row, before, after, request.about)
        return after

    return answer_locked(
        transaction,
        batch,
        change,
        lambda _, target: webhook_by_key(transaction, target),
    )


def _redirect(
    transaction: Transaction, row: WebhookRow, before: Webhook, after: Webhook, about: About
) -> None:
    """Has what is to be sent follow a change of the URL or the state."""
    moved = after.url != before.url
    if not moved and after.state is before.state:
        return
    enabled = after.state is WebhookState.ENABLED
    if moved:
        transaction.run(_FENCE, [row.n])
    if moved or (enabled and not after.verified):
        transaction.run(_DROP_TESTS, [row.n])
    if not enabled:
        hold_deliveries(transaction, row.n)
        return
    release_deliveries(transaction, row.n, about.now)
    if not after.verified:
        log_test(transaction, row.reseller, row.n, after, about)


class Deletion(NamedTuple):
    """A webhook to delete, if it has the revision."""

    revision: int | None
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


class Deleted(NamedTuple):
    """Whether the webhook was there, now or for a key seen before; and the number of one deleted now."""

    found: bool
    number: WebhookNumber | None = None


def delete_webhooks(
    transaction: Transaction, batch: Sequence[Deletion]
) -> list[Deleted | Exception | None]:
    """Deletes webhooks, but not all that was recorded of their attempts: see `clear_attempts`."""

    def delete_(locked: Locked, keys: Keys, request: Deletion, row: WebhookRow) -> Deleted:
        before = webhook(transaction, row)
        require_revision(before, request.revision)
        keys.changed(request.use, WEBHOOK_TARGET, row.n)
        transaction.run(_DELETE, [row.n])
        delete_deliveries(transaction, row.n)
        locked.has_changed(row)
        log_change(transaction, row.reseller, EventType.WEBHOOK_DELETED, before, request.about)
        return Deleted(True, row.n)

    return answer_locked(
        transaction, batch, delete_, lambda *_: Deleted(True), missing=Deleted(False)
    )


def clear_attempts(transaction: Transaction, batch: Sequence[WebhookNumber]) -> list[int]:
    """Clears some of the attempts of deleted webhooks; returns of each how many."""
    return [len(transaction.fetch(_CLEAR_ATTEMPTS, [number])) for number in batch]


class Rotation(NamedTuple):
    """A new secret; the one before signs too for `overlap` microseconds."""

    secret: str
    overlap: Micros
    about: About

    @property
    def use(self) -> KeyedRequest | None:
        return self.about.use


def rotate_secrets(
    transaction: Transaction, batch: Sequence[Rotation]
) -> list[WebhookWithSecret | Exception | None]:
    """Gives webhooks new secrets; see WebhookStorage.rotate_secret."""

    def rotate(locked: Locked, keys: Keys, request: Rotation, row: WebhookRow) -> WebhookWithSecret:
        now = request.about.now
        after = as_changed(webhook(transaction, row), from_micros(now))
        transaction.run(
            _ROTATE,
            [row.n],
            secret=request.secret,
            old_secret=row.secret if request.overlap else None,
            until=now + request.overlap if request.overlap else None,
            at=max(now, row.updated_at),
            revision=after.revision,
        )
        locked.has_changed(row)
        keys.changed(request.use, WEBHOOK_TARGET, row.n)
        log_change(transaction, row.reseller, EventType.WEBHOOK_UPDATED, after, request.about)
        return WebhookWithSecret(after, request.secret)

    return answer_locked(
        transaction,
        batch,
        rotate,
        lambda _, target: with_secret(transaction, row_by_key(transaction, target)),
    )
