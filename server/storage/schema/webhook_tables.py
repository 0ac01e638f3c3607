"""The tables of webhooks: where events are sent to, what is to be sent, and each try to."""

from typing import NamedTuple

from sqlalchemy import false, text

from server.storage.schema.codes import ContentTypeCode
from server.storage.schema.columns import Count, index, table
from server.storage.schema.tables import (
    AttemptNumber,
    CustomerNumber,
    DeferralJson,
    DeliveryNumber,
    Email,
    EventNumber,
    ResellerNumber,
    SigningSecret,
    TypesJson,
    WebhookId,
    WebhookNumber,
    metadata,
)
from server.storage.sql.times import Micros


class WebhookRow(NamedTuple):
    """Where events of a reseller are sent to.

    types: a JSON array of types of events, by name; an empty one stands for all.
    old_secret: signs beside the newer one until `old_secret_until`, NULL for neither.
    verified_at: when it first answered a test at its URL; nothing else is sent before.
    position: up to which event of the log its deliveries have been made, but for those of customers
        that had an earlier one open: those follow it.
    failing_since: when the first of the latest deliveries was tried that have all failed.
    paused_until: nothing is sent before; no_new_until: nothing that has not been tried yet.
    alert: what happens next while it fails, at `due_at`: `warning` or `disabling`; `disabled` for the
        e-mail that says so; NULL for nothing. `due_at`, `claimed`, `attempts` and `deferral` are as of
        all due work (`work.due`).
    """

    n: WebhookNumber
    id: WebhookId
    reseller: ResellerNumber
    url: str
    types: TypesJson
    description: str
    content_type: ContentTypeCode
    alert_email: Email | None
    enabled: bool
    disable_reason: str
    secret: SigningSecret
    old_secret: SigningSecret | None
    old_secret_until: Micros | None
    created_at: Micros
    updated_at: Micros
    revision: Count
    verified_at: Micros | None
    position: EventNumber
    last_success_at: Micros | None = None
    failing_since: Micros | None = None
    paused_until: Micros | None = None
    no_new_until: Micros | None = None
    alert: str | None = None
    due_at: Micros | None = None
    claimed: bool = False
    attempts: Count = Count(0)
    deferral: DeferralJson | None = None


class DeliveryRow(NamedTuple):
    """An event to send to a webhook: made when its turn comes, deleted once it is over.

    customer: whose events arrive in order, so that a webhook has one delivery of each at most; the
        next one is made when it is over. 0 for events of none, tests, and what is sent again.
    due_at: NULL while its webhook gets none: it is disabled, has not answered a test, or its reseller
        is held; else as of all due work (`work.due`).
    requested_at: when it was made, or was asked for again.
    tries: those that have failed.
    """

    n: DeliveryNumber
    webhook: WebhookNumber
    reseller: ResellerNumber
    event: EventNumber
    customer: CustomerNumber
    requested_at: Micros
    due_at: Micros | None
    tries: Count = Count(0)
    claimed: bool = False
    attempts: Count = Count(0)
    deferral: DeferralJson | None = None


class AttemptRow(NamedTuple):
    """A try to deliver an event.

    status: of the answer, NULL without one; error: why there was none, "" else.
    next_try_at: NULL after a success and after the last try.
    """

    n: AttemptNumber
    webhook: WebhookNumber
    event: EventNumber
    at: Micros
    took_ms: Count
    status: Count | None
    error: str
    succeeded: bool
    next_try_at: Micros | None


webhooks = table(
    "webhooks",
    metadata,
    WebhookRow,
    "n",
    {"claimed": false(), "attempts": text("0")},
)
_w = webhooks.c
index("webhooks_id", _w.id, unique=True)
index("webhooks_reseller", _w.reseller, _w.n)
_alert_is_due = _w.due_at.is_not(None)
index("webhooks_due", _w.due_at, where=_alert_is_due & _w.deferral.is_(None))
index("webhooks_deferred", _w.due_at, where=_alert_is_due & _w.deferral.is_not(None))

deliveries = table(
    "deliveries",
    metadata,
    DeliveryRow,
    "n",
    {"tries": text("0"), "claimed": false(), "attempts": text("0")},
)
_d = deliveries.c
index("deliveries_event", _d.webhook, _d.event, unique=True)
index(
    "deliveries_customer",
    *(_d.webhook, _d.customer),
    where=_d.customer != text("0"),
    unique=True,
)
_is_due = _d.due_at.is_not(None)
index("deliveries_due", _d.due_at, where=_is_due & _d.deferral.is_(None))
index("deliveries_deferred", _d.due_at, where=_is_due & _d.deferral.is_not(None))

attempts = table("attempts", metadata, AttemptRow, "n")
index("attempts_webhook", attempts.c.webhook, attempts.c.n)
