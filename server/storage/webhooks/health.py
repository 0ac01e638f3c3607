"""How a webhook fares: what answers and failures make of it, and what follows from them in time."""

from typing import NamedTuple

from sqlalchemy import bindparam, func, select, update

from server.storage.schema.tables import (
    EventNumber,
    ResellerNumber,
    TypesJson,
    WebhookNumber,
    event_logs,
    resellers,
)
from server.storage.schema.webhook_tables import webhooks
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.webhooks.delivery_rows import DISABLED, IS_ACTIVE

_DAY = 86_400_000_000
# After failures alone for so long, an e-mail warns, and the webhook is disabled.
WARN_AFTER, DISABLE_AFTER = 4 * _DAY, 5 * _DAY
# What comes next (`WebhookRow.alert`).
WARNING, DISABLING = "warning", "disabling"
# The longest pause between new events that are tried at a webhook that fails.
_LONGEST_PAUSE = 600_000_000

_w = webhooks.c


class Health(NamedTuple):
    """What deliveries change of a webhook, and what they depend on."""

    n: WebhookNumber
    reseller: ResellerNumber
    url: str
    types: TypesJson
    position: EventNumber
    last: EventNumber
    is_active: bool
    verified_at: Micros | None
    last_success_at: Micros | None
    failing_since: Micros | None
    paused_until: Micros | None
    no_new_until: Micros | None
    alert: str | None
    due_at: Micros | None

    @property
    def may_get(self) -> bool:
        """Whether it gets events, and not only tests."""
        return bool(self.is_active) and self.verified_at is not None

    @property
    def lags(self) -> bool:
        """Whether there are events for it that are not on their way."""
        return self.may_get and self.position < self.last

    def lags_at(self, now: Micros) -> bool:
        """Whether it may get some of them now."""
        return self.lags and max(self.paused_until or 0, self.no_new_until or 0) <= now


_CHANGED = Health._fields[Health._fields.index("verified_at") :]


class _Number(NamedTuple):
    n: WebhookNumber


_LOCK = Query(_Number, select(_w.n).where(_w.n.in_(IDS)).order_by(_w.n).with_for_update())
_READ = Query(
    Health,
    select(
        *(_w.n, _w.reseller, _w.url, _w.types, _w.position),
        func.coalesce(event_logs.c.last, 0),
        IS_ACTIVE,
        *(_w[name] for name in _CHANGED),
    )
    .join_from(webhooks, resellers, resellers.c.n == _w.reseller)
    .outerjoin(event_logs, event_logs.c.reseller == _w.reseller)
    .where(_w.n.in_(IDS)),
)
# Who sends the e-mail about its failures has nothing to say once they are over.
_WRITE = Statement(
    update(webhooks).where(_w.n.in_(IDS)).values({_w[name]: bindparam(name) for name in _CHANGED}),
    *_CHANGED,
)


def lock_health(
    transaction: Transaction, numbers: list[WebhookNumber]
) -> dict[WebhookNumber, Health]:
    """Locks webhooks and returns how they fare."""
    transaction.fetch(_LOCK, numbers)
    return {row.n: row for row in transaction.fetch(_READ, numbers)}


def write_health(transaction: Transaction, changed: list[Health]) -> None:
    """Writes what has changed."""
    rows = [(each.n, {name: getattr(each, name) for name in _CHANGED}) for each in changed]
    transaction.run_each(_WRITE, rows)


def after_success(health: Health, at: Micros, paused_until: Micros | None) -> Health:
    """Returns how a webhook fares that has taken a delivery.

    A pause that it has asked for meanwhile lasts: what is taken then was under way before.
    """
    well = health._replace(
        last_success_at=Micros(max(at, health.last_success_at or 0)),
        failing_since=None,
        paused_until=_later(paused_until, health.paused_until),
        no_new_until=None,
    )
    return well if health.alert == DISABLED else well._replace(alert=None, due_at=None)


def after_failure(health: Health, at: Micros, paused_until: Micros | None) -> Health:
    """Returns how a webhook fares where a try to deliver has failed."""
    since = at if health.failing_since is None else health.failing_since
    pause = min(max(at - since, 0), _LONGEST_PAUSE)
    failing = health._replace(
        failing_since=since,
        paused_until=_later(paused_until, health.paused_until),
        no_new_until=Micros(at + pause),
    )
    if health.alert is None and health.is_active:
        failing = failing._replace(alert=WARNING, due_at=Micros(since + WARN_AFTER))
    return failing


def _later(one: Micros | None, other: Micros | None) -> Micros | None:
    return max(filter(None, (one, other)), default=None)


def with_nothing_to_send(health: Health) -> Health:
    """Returns how a webhook fares whose last delivery was given up: the next one begins anew."""
    idle = health._replace(failing_since=None, no_new_until=None)
    return idle if health.alert == DISABLED else idle._replace(alert=None, due_at=None)
