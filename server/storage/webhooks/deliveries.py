"""Deliveries to webhooks: made of new events, and claimed by workers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from server.storage import resellers
from server.storage.events import rows as event_rows
from server.storage.interface.webhooks import WebhookDelivery
from server.storage.schema.codes import CONTENT_TYPES, ContentTypeCode
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    DeliveryNumber,
    EventNumber,
    EventRow,
    ResellerNumber,
    SigningSecret,
    WebhookId,
    WebhookNumber,
    events,
)
from server.storage.schema.webhook_tables import deliveries, webhooks
from server.storage.sql.statements import IDS, PairQuery, Query, Transaction
from server.storage.sql.times import Micros, from_micros
from server.storage.webhooks.fan_out import (
    MOST_AT_ONCE,
    MOST_WHILE_FAILING,
    RESELLERS_BEHIND,
    fan_out,
)
from server.storage.webhooks.outcomes import Outcome, finish_deliveries
from server.storage.work.due import Claim, DueWork

# When a delivery is looked at again whose webhook has as many under way as it may.
_NEXT_TURN, _NEXT_TURN_WHILE_FAILING = 250_000, 2_000_000

_d, _w = deliveries.c, webhooks.c


class _Due(NamedTuple):
    """A delivery with what its webhook is like."""

    n: DeliveryNumber
    webhook: WebhookNumber
    reseller: ResellerNumber
    event: EventNumber
    requested_at: Micros
    tries: Count
    attempts: Count
    webhook_id: WebhookId
    url: str
    content_type: ContentTypeCode
    secret: SigningSecret
    old_secret: SigningSecret | None
    old_secret_until: Micros | None
    failing_since: Micros | None
    paused_until: Micros | None


_ROWS = select(
    *(_d.n, _d.webhook, _d.reseller, _d.event, _d.requested_at, _d.tries, _d.attempts),
    *(_w.id, _w.url, _w.content_type, _w.secret, _w.old_secret, _w.old_secret_until),
    *(_w.failing_since, _w.paused_until),
).join_from(deliveries, webhooks, _w.n == _d.webhook)
DELIVERIES = DueWork(deliveries, _Due, _ROWS)
_BY_NUMBER = Query(_Due, _ROWS.where(_d.n.in_(IDS)))


class _UnderWay(NamedTuple):
    webhook: WebhookNumber
    number: int


_UNDER_WAY = Query(
    _UnderWay,
    select(_d.webhook, func.count())
    .where(_d.webhook.in_(IDS), _d.claimed, _d.due_at > bindparam("now", type_=_d.due_at.type))
    .group_by(_d.webhook),
    "now",
)
_EVENTS = PairQuery(EventRow, events, "reseller", "number")


class DeliveryClaim(NamedTuple):
    """What to claim; `grown` are resellers whose webhooks may have new events to get."""

    claim: Claim
    grown: Sequence[ResellerNumber]


class Claimed(NamedTuple):
    """What was claimed, and resellers whose webhooks can have more; see `FannedOut`."""

    deliveries: list[WebhookDelivery]
    unfinished: frozenset[ResellerNumber]
    passed_over: frozenset[ResellerNumber]


class _Reseller(NamedTuple):
    n: ResellerNumber


_SUBSCRIBED = Query(_Reseller, select(_w.reseller).where(_w.enabled).distinct())


class Subscribed(NamedTuple):
    """Resellers that have webhooks, and those of them whose webhooks lag behind the log."""

    subscribed: frozenset[ResellerNumber]
    lagging: Sequence[ResellerNumber]


def claim_deliveries(transaction: Transaction, batch: Sequence[DeliveryClaim]) -> list[Claimed]:
    """Claims for several workers; see DeliveryStorage.claim_webhook_deliveries."""
    return [_claim(transaction, wanted) for wanted in batch]


def _claim(transaction: Transaction, wanted: DeliveryClaim) -> Claimed:
    claim, grown = wanted
    # What is there already leaves some room for what is new.
    reserved = claim.limit // 4 if grown else 0
    found = DELIVERIES.find(transaction, claim._replace(limit=claim.limit - reserved))
    due = _in_turn(transaction, found, claim.now)
    DELIVERIES.lease(transaction, [row.n for row in due], claim.lease_until)
    claimed = [row._replace(attempts=Count(row.attempts + 1)) for row in due]
    made, unfinished, passed_over = fan_out(
        transaction, grown, claim.now, claim.lease_until, claim.limit - len(claimed)
    )
    if made:
        claimed += transaction.fetch(_BY_NUMBER, [row.n for row in made])
    taken = _deliveries(transaction, claimed, claim)
    return Claimed(taken, frozenset(unfinished), frozenset(passed_over))


def _in_turn(transaction: Transaction, found: Sequence[_Due], now: Micros) -> list[_Due]:
    """Returns those whose turn it is; puts the others off."""
    if not found:
        return []
    numbers = list({row.webhook for row in found})
    under_way = Counter(
        {each.webhook: each.number for each in transaction.fetch(_UNDER_WAY, numbers, now=now)}
    )
    due = []
    for row in found:
        is_failing = row.failing_since is not None
        most = MOST_WHILE_FAILING if is_failing else MOST_AT_ONCE
        ahead = under_way[row.webhook]
        under_way[row.webhook] += 1
        if row.paused_until is not None and row.paused_until > now:
            DELIVERIES.put_off(transaction, row.n, row.paused_until)
        elif ahead < most:
            due.append(row)
        else:
            pause = _NEXT_TURN_WHILE_FAILING if is_failing else _NEXT_TURN
            DELIVERIES.put_off(transaction, row.n, Micros(now + pause * (ahead // most)))
    return due


def _deliveries(
    transaction: Transaction, claimed: Iterable[_Due], claim: Claim
) -> list[WebhookDelivery]:
    rows = list(claimed)
    if not rows:
        return []
    resellers.reseller_ids(transaction, {row.reseller for row in rows})
    keys = list({(row.reseller, row.event) for row in rows})
    found = {
        (row.reseller, row.number): event_rows.event(transaction, row)
        for row in transaction.fetch(_EVENTS, keys)
    }
    gone = [row for row in rows if (row.reseller, row.event) not in found]
    if gone:  # the log is kept for long, but not for ever
        finish_deliveries(transaction, [_given_up(row, claim.now) for row in gone])
    return [
        WebhookDelivery(
            number=row.n,
            attempt=row.attempts,
            lease_until=from_micros(claim.lease_until),
            requested_at=from_micros(row.requested_at),
            tries=row.tries,
            webhook_id=row.webhook_id,
            webhook_number=row.webhook,
            url=row.url,
            content_type=CONTENT_TYPES[row.content_type],
            secrets=_secrets(row, claim.now),
            event=found[row.reseller, row.event],
        )
        for row in rows
        if (row.reseller, row.event) in found
    ]


def _given_up(row: _Due, now: Micros) -> Outcome:
    """Returns the end of a delivery whose event is cleared: the next one of its customer comes."""
    return Outcome(
        *(row.n, row.attempts, row.webhook, row.event, row.url),
        is_test=False,
        now=now,
        try_=None,
    )


def _secrets(row: _Due, now: Micros) -> tuple[str, ...]:
    if row.old_secret is not None and (row.old_secret_until or 0) > now:
        return row.secret, row.old_secret
    return (row.secret,)


def look_ahead(transaction: Transaction, batch: Sequence[None]) -> list[Micros | None]:
    """Returns when the next delivery is due, for each who asks; None: there is none."""
    return [DELIVERIES.next_due(transaction)] * len(batch)


def subscribed_resellers(transaction: Transaction, batch: Sequence[Micros]) -> list[Subscribed]:
    """Returns which resellers have webhooks, as of the latest time, for each who asks."""
    subscribed = frozenset(row.n for row in transaction.fetch(_SUBSCRIBED))
    lagging = [row.n for row in transaction.fetch(RESELLERS_BEHIND, now=max(batch))]
    return [Subscribed(subscribed, lagging)] * len(batch)
