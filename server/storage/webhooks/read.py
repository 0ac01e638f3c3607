"""Webhooks as they are read: one, a page of them, their backlogs and attempts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select

from server.domain.events import event_id
from server.domain.webhooks import Webhook
from server.storage import resellers
from server.storage.interface.paging import Cursor, Listed
from server.storage.interface.webhooks import Attempt
from server.storage.schema.webhook_tables import AttemptRow, WebhookRow, attempts, webhooks
from server.storage.sql.paging import first, listed
from server.storage.sql.statements import IDS, Query, Transaction, columns
from server.storage.sql.times import from_micros, from_micros_or_none
from server.storage.sql.transactions import one_by_one
from server.storage.webhooks.delivery_rows import count_backlog
from server.storage.webhooks.rows import BY_ID, webhook

_FROM_HERE = 2**62


class WebhookName(NamedTuple):
    """A webhook of a reseller."""

    reseller_id: str
    webhook_id: str


class Page(NamedTuple):
    """Which webhooks of a reseller, or attempts of a webhook, to list."""

    of: WebhookName
    limit: int
    after: Cursor | None


_PAGE = Query(
    WebhookRow,
    first(
        select(*columns(webhooks, WebhookRow)).where(
            webhooks.c.reseller.in_(IDS), webhooks.c.n < bindparam("after")
        ),
        webhooks.c.n,
    ),
    *("after", "limit"),
)
_ATTEMPTS = Query(
    AttemptRow,
    first(
        select(*columns(attempts, AttemptRow)).where(
            attempts.c.webhook.in_(IDS), attempts.c.n < bindparam("after")
        ),
        attempts.c.n,
    ),
    *("after", "limit"),
)


def get_webhooks(transaction: Transaction, wanted: Sequence[WebhookName]) -> list[Webhook | None]:
    """Returns webhooks; see WebhookStorage.get_webhook."""
    rows = transaction.fetch(BY_ID, list(dict.fromkeys(each.webhook_id for each in wanted)))
    found = {
        (each.reseller_id, each.id): each for each in (webhook(transaction, row) for row in rows)
    }
    return [found.get((each.reseller_id, each.webhook_id)) for each in wanted]


@one_by_one
def list_webhooks(transaction: Transaction, page: Page) -> list[Listed[Webhook]]:
    """Returns a page; see WebhookStorage.list_webhooks."""
    reseller = resellers.reseller_number(transaction, page.of.reseller_id)
    if reseller is None:
        return []
    after = _FROM_HERE if page.after is None else page.after
    rows = transaction.fetch(_PAGE, [reseller], after=after, limit=page.limit)
    return listed(rows, lambda row: webhook(transaction, row))


@one_by_one
def count_backlogs(transaction: Transaction, wanted: Sequence[str]) -> dict[str, int]:
    """Counts backlogs; see WebhookStorage.count_backlog."""
    rows = transaction.fetch(BY_ID, wanted) if wanted else []
    return {row.id: count_backlog(transaction, row.n, row.types) for row in rows}


@one_by_one
def list_attempts(transaction: Transaction, page: Page) -> list[Listed[Attempt]] | None:
    """Returns a page; see WebhookStorage.list_attempts."""
    reseller_id, webhook_id = page.of
    rows = transaction.fetch(BY_ID, [webhook_id])
    if not rows or resellers.reseller_id(transaction, rows[0].reseller) != reseller_id:
        return None
    after = _FROM_HERE if page.after is None else page.after
    found = transaction.fetch(_ATTEMPTS, [rows[0].n], after=after, limit=page.limit)
    return listed(found, lambda row: _attempt(reseller_id, row))


def _attempt(reseller_id: str, row: AttemptRow) -> Attempt:
    return Attempt(
        event_id(reseller_id, row.event),
        from_micros(row.at),
        timedelta(milliseconds=row.took_ms),
        row.status,
        row.error,
        row.succeeded,
        from_micros_or_none(row.next_try_at),
    )
