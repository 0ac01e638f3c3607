"""Telling of webhooks that fail: a day before they are disabled, and then."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.storage.interface.webhook_alerts import AlertKind, WebhookAlert
from server.storage.interface.work import MAX_DUE_AHEAD
from server.storage.notify.notifier import Notifier
from server.storage.resellers import IS_HELD, reseller_id
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    DeliveryNumber,
    Email,
    ResellerNumber,
    TypesJson,
    WebhookId,
    WebhookNumber,
    resellers,
)
from server.storage.schema.webhook_tables import attempts, deliveries, webhooks
from server.storage.sql.batches import Batcher
from server.storage.sql.statements import IDS, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, from_micros, micros
from server.storage.sql.transactions import one_by_one
from server.storage.webhooks.delivery_rows import DISABLED, count_backlog
from server.storage.webhooks.disabling import FAILED_FOR_LONG, disable
from server.storage.webhooks.health import DISABLE_AFTER, DISABLING, WARNING
from server.storage.work.due import Claim, DueWork
from server.storage.work.waiting import wait_until_due

_HOUR = 3_600_000_000
# Tries are a day apart at most; where the last one is older, nothing was tried.
_STALE_AFTER = 26 * _HOUR

_w, _a, _d = webhooks.c, attempts.c, deliveries.c


class _Failing(NamedTuple):
    """A webhook of which something is to be told."""

    n: WebhookNumber
    id: WebhookId
    reseller: ResellerNumber
    url: str
    types: TypesJson
    description: str
    alert_email: Email | None
    disable_reason: str
    updated_at: Micros
    verified_at: Micros | None
    failing_since: Micros | None
    alert: str | None
    due_at: Micros | None
    attempts: Count

    @property
    def disabled_at(self) -> Micros:
        """When it will be disabled, or was."""
        if self.alert == DISABLED or self.failing_since is None:
            return self.updated_at
        return Micros(self.failing_since + DISABLE_AFTER)


_ROWS = select(*columns(webhooks, _Failing))
_ALERTS = DueWork(webhooks, _Failing, _ROWS)
_LOCK = Query(_Failing, _ROWS.where(_w.n.in_(IDS)).with_for_update())
_NEXT = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS))
    .values(
        alert=bindparam("alert"),
        due_at=bindparam("due_at"),
        claimed=False,
        attempts=0,
        deferral=None,
    ),
    *("alert", "due_at"),
)
# What was last sent to it was given up, and nothing has come since that it wants.
_CALL_OFF = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS))
    .values(failing_since=None, no_new_until=None, alert=None, due_at=None, deferral=None)
)
_DEFER = Statement(update(webhooks).where(_w.n.in_(IDS)).values(deferral="put off"))


class _Tried(NamedTuple):
    at: Micros
    status: Count | None
    error: str


_LAST_TRY = Query(
    _Tried,
    select(_a.at, _a.status, _a.error).where(_a.webhook.in_(IDS)).order_by(_a.n.desc()).limit(1),
)


class _Sent(NamedTuple):
    n: DeliveryNumber


_DUE = Query(_Sent, select(_d.n).where(_d.webhook.in_(IDS), _d.due_at.is_not(None)).limit(1))


class _Held(NamedTuple):
    n: ResellerNumber


_HELD = Query(_Held, select(resellers.c.n).where(resellers.c.n.in_(IDS), IS_HELD))


class _End(NamedTuple):
    """What became of a claim: told, or to be tried again."""

    alert: WebhookAlert
    now: Micros
    retry_at: Micros | None = None


@one_by_one
def claim_alerts(transaction: Transaction, wanted: Claim) -> list[WebhookAlert]:
    """Claims what is to be told; see AlertStorage.claim_webhook_alerts."""
    rows = _ALERTS.find(transaction, wanted)
    if not rows:
        return []
    held = {each.n for each in transaction.fetch(_HELD, [row.reseller for row in rows])}
    told = []
    for row in rows:
        if row.reseller in held:
            _ALERTS.put_off(transaction, row.n, Micros(wanted.now + _HOUR))
            continue
        tried = transaction.fetch(_LAST_TRY, [row.n])
        is_awaiting = row.alert != DISABLED and _is_awaiting(transaction, row)
        if row.alert != DISABLED and row.verified_at is not None and not is_awaiting:
            transaction.run(_CALL_OFF, [row.n])
        elif row.alert == DISABLING and is_awaiting and _is_stale(tried, wanted.now):
            _ALERTS.put_off(transaction, row.n, Micros(wanted.now + _HOUR))
        elif row.alert == DISABLING:
            disable(transaction, row.n, FAILED_FOR_LONG, wanted.now)
            told += [(each, tried) for each in transaction.fetch(_LOCK, [row.n])]
        elif row.alert == WARNING and row.alert_email is None:
            _advance(transaction, row, wanted.now)
        else:
            told.append((row, tried))
    _ALERTS.lease(transaction, [row.n for row, _ in told], wanted.lease_until)
    return [_alert(transaction, row, tried, wanted.lease_until) for row, tried in told]


def _is_awaiting(transaction: Transaction, row: _Failing) -> bool:
    """Tells whether there is something to send to a webhook: until it has answered one, a test."""
    if row.verified_at is None:
        return bool(transaction.fetch(_DUE, [row.n]))
    return count_backlog(transaction, row.n, row.types) > 0


def _is_stale(tried: Sequence[_Tried], now: Micros) -> bool:
    return not tried or tried[0].at < now - _STALE_AFTER


@one_by_one
def finish_alert(transaction: Transaction, end: _End) -> bool:
    """Records what became of a claim; False where another has overtaken it."""
    for row in transaction.fetch(_LOCK, [end.alert.number]):
        if row.attempts != end.alert.attempt or row.alert != end.alert.kind:
            return False
        if end.retry_at is not None:
            _ALERTS.put_off(transaction, row.n, end.retry_at)
            transaction.run(_DEFER, [row.n])
        else:
            _advance(transaction, row, end.now)
        return True
    return False


def _advance(transaction: Transaction, row: _Failing, now: Micros) -> None:
    """Goes on to what comes next: after a warning, a day must pass."""
    if row.alert == WARNING and row.failing_since is not None:
        wait = 0 if row.alert_email is None else 24 * _HOUR
        due_at = max(row.failing_since + DISABLE_AFTER, now + wait)
        transaction.run(_NEXT, [row.n], alert=DISABLING, due_at=due_at)
    else:
        transaction.run(_NEXT, [row.n], alert=None, due_at=None)


def _alert(
    transaction: Transaction, row: _Failing, tried: Sequence[_Tried], lease_until: Micros
) -> WebhookAlert:
    return WebhookAlert(
        number=row.n,
        attempt=row.attempts + 1,
        lease_until=from_micros(lease_until),
        requested_at=from_micros(
            row.updated_at if row.alert == DISABLED else Micros(row.disabled_at - 24 * _HOUR)
        ),
        kind=AlertKind(row.alert or DISABLED),
        reseller_id=reseller_id(transaction, row.reseller),
        webhook_id=row.id,
        url=row.url,
        description=row.description,
        email=row.alert_email,
        reason=row.disable_reason,
        error=_error(tried),
        disabled_at=from_micros(row.disabled_at),
    )


def _error(tried: Sequence[_Tried]) -> str:
    if not tried:
        return ""
    return tried[0].error or f"HTTP {tried[0].status}"


def next_alert_due(transaction: Transaction, batch: Sequence[None]) -> list[Micros | None]:
    """Returns when something is to be told next, for each who asks; None: there is nothing."""
    return [_ALERTS.next_due(transaction)] * len(batch)


class SqlAlerts:
    """Implements `interface.AlertStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher, notifier: Notifier) -> None:
        self._writes = writes
        self._reads = reads
        self._notifier = notifier

    async def claim_webhook_alerts(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        max_due_ahead: timedelta = MAX_DUE_AHEAD,
        *,
        retries_first: bool = False,
    ) -> list[WebhookAlert]:
        claim = Claim(
            limit, micros(now), micros(now + lease), micros(now + max_due_ahead), retries_first
        )
        return await self._writes.submit(claim_alerts, claim)

    async def finish_webhook_alert(self, alert: WebhookAlert, now: datetime) -> bool:
        return await self._writes.submit(finish_alert, _End(alert, micros(now)))

    async def retry_webhook_alert(self, alert: WebhookAlert, due_at: datetime) -> bool:
        at = micros(due_at)
        return await self._writes.submit(finish_alert, _End(alert, at, at))

    async def wait_for_webhook_alerts(self, now: datetime, longest: timedelta) -> None:
        with self._notifier.deliveries() as changed:
            await wait_until_due(self._reads, next_alert_due, changed, now, longest)
