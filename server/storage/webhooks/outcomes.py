"""What became of deliveries, and what that makes of their webhooks.

A webhook's row is locked before its deliveries, by all who lock both.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, exists, func, select, update

from server.storage.numbers import row_numbers
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    AttemptNumber,
    CustomerNumber,
    DeferralJson,
    DeliveryNumber,
    EventNumber,
    ResellerNumber,
    WebhookNumber,
    events,
)
from server.storage.schema.webhook_tables import AttemptRow, attempts, deliveries, webhooks
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.webhooks.delivery_rows import NO_CUSTOMER, release_deliveries, wanted_types
from server.storage.webhooks.disabling import GONE, disable
from server.storage.webhooks.health import (
    Health,
    after_failure,
    after_success,
    lock_health,
    with_nothing_to_send,
    write_health,
)

_d, _e, _w = deliveries.c, events.c, webhooks.c


class Try(NamedTuple):
    """A try to deliver, as `interface.DeliveryAttempt` has it."""

    at: Micros
    took_ms: Count
    status: Count | None
    error: str


class Outcome(NamedTuple):
    """A claim's end: its event is over (`retry_at` None), or is to be tried again.

    try_: what was tried; None where the claim is only given back.
    disable: the webhook wants no more; its event is kept.
    """

    number: int
    attempt: int
    webhook: WebhookNumber
    event: int
    url: str
    is_test: bool
    now: Micros
    try_: Try | None
    succeeded: bool = False
    retry_at: Micros | None = None
    paused_until: Micros | None = None
    disable: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the event is sent no more."""
        return self.retry_at is None and not self.disable


class Finished(NamedTuple):
    """Whether the claim still held, and the webhook's reseller where there is more for it to get."""

    held: bool
    lagging: ResellerNumber | None = None


class _Open(NamedTuple):
    n: DeliveryNumber
    webhook: WebhookNumber
    event: EventNumber
    customer: CustomerNumber
    tries: Count
    attempts: Count


class _Follower(NamedTuple):
    event: EventNumber | None


class _Webhook(NamedTuple):
    n: WebhookNumber


_LOCK = Query(
    _Open,
    select(_d.n, _d.webhook, _d.event, _d.customer, _d.tries, _d.attempts)
    .where(_d.n.in_(IDS))
    .order_by(_d.n)
    .with_for_update(),
)
_on_its_way = deliveries.alias()
_FOLLOWER = Query(
    _Follower,
    select(func.min(_e.number)).where(
        _e.customer == bindparam("customer"),
        _e.number > bindparam("after"),
        _e.number <= bindparam("position"),
        _e.type.in_(IDS),
        ~exists().where(
            _on_its_way.c.webhook == bindparam("webhook"), _on_its_way.c.event == _e.number
        ),
    ),
    *("customer", "after", "position", "webhook"),
)
_FOLLOW = Statement(
    update(deliveries)
    .where(_d.n.in_(IDS))
    .values(
        event=bindparam("event"),
        requested_at=bindparam("now"),
        due_at=bindparam("due_at"),
        tries=0,
        claimed=False,
        attempts=0,
        deferral=None,
    ),
    *("event", "now", "due_at"),
)
_PUT_OFF = Statement(
    update(deliveries)
    .where(_d.n.in_(IDS))
    .values(
        due_at=bindparam("due_at"),
        tries=bindparam("tries"),
        claimed=False,
        deferral=bindparam("deferral"),
    ),
    *("due_at", "tries", "deferral"),
)
_GIVE_BACK = Statement(
    update(deliveries).where(_d.n.in_(IDS)).values(due_at=bindparam("due_at"), claimed=False),
    "due_at",
)
_DELETE = Statement(delete(deliveries).where(_d.n.in_(IDS)))
_INSERT_ATTEMPTS = Insert(attempts, AttemptRow)
_BUSY = Query(
    _Webhook,
    select(_w.n).where(_w.n.in_(IDS), exists().where(_d.webhook == _w.n)),
)


def finish_deliveries(transaction: Transaction, batch: Sequence[Outcome]) -> list[Finished]:
    """Records what became of claims; see DeliveryStorage."""
    fares = lock_health(transaction, list({outcome.webhook for outcome in batch}))
    before = dict(fares)
    rows = {row.n: row for row in transaction.fetch(_LOCK, [each.number for each in batch])}
    held: list[tuple[Outcome, _Open] | None] = []
    for outcome in batch:
        row = rows.get(DeliveryNumber(outcome.number))
        if row is None or outcome.webhook not in fares or not _holds(row, outcome):
            held.append(None)
            continue
        del rows[row.n]  # what comes next for the same claim is late
        held.append((outcome, row))
        fares[outcome.webhook] = _after(fares[outcome.webhook], outcome)
    ours = [each for each in held if each]
    _put_off(transaction, [each for each in ours if not each[0].is_over], fares)
    _end(transaction, [each for each in ours if each[0].is_over], fares)
    _record(transaction, [outcome for outcome, _ in ours])
    given_up = {each.webhook for each, _ in ours if each.is_over and not each.succeeded}
    if given_up:
        given_up -= {row.n for row in transaction.fetch(_BUSY, list(given_up))}
        for number in given_up:
            if fares[number].may_get and not fares[number].lags:
                fares[number] = with_nothing_to_send(fares[number])
    write_health(transaction, [each for n, each in fares.items() if each != before[n]])
    for number, health in fares.items():
        if health.verified_at is not None and before[number].verified_at is None:
            release_deliveries(transaction, number, health.verified_at)
    for number in {each.webhook for each, _ in ours if each.disable}:
        if fares[number].is_active:
            disable(transaction, number, GONE, max(each.now for each, _ in ours))
    return [_finished(each, fares) for each in held]


def _holds(row: _Open, outcome: Outcome) -> bool:
    return (row.webhook, row.event, row.attempts) == (
        outcome.webhook,
        outcome.event,
        outcome.attempt,
    )


def _after(health: Health, outcome: Outcome) -> Health:
    """Returns how a webhook fares after an outcome at its present URL."""
    if outcome.try_ is None or outcome.url != health.url:
        return health
    at = outcome.try_.at
    if not outcome.succeeded:
        return after_failure(health, at, outcome.paused_until)
    if outcome.is_test and health.verified_at is None:
        health = health._replace(verified_at=outcome.now)
    return after_success(health, at, outcome.paused_until)


def _put_off(
    transaction: Transaction,
    ours: Sequence[tuple[Outcome, _Open]],
    fares: dict[WebhookNumber, Health],
) -> None:
    back, again = [], []
    for outcome, row in ours:
        health = fares[outcome.webhook]
        may_be_sent = health.may_get or (health.is_active and outcome.is_test)
        # A pause that lasts longer is seen by the claim that finds it.
        due_at = outcome.retry_at if may_be_sent and not outcome.disable else None
        if outcome.try_ is None:
            back.append((row.n, {"due_at": due_at}))
            transaction.has_deliveries = True
            continue
        deferral = DeferralJson(str(outcome.try_.status or outcome.try_.error))
        values = {"due_at": due_at, "tries": row.tries + 1, "deferral": deferral}
        again.append((row.n, values))
    transaction.run_each(_GIVE_BACK, back)
    transaction.run_each(_PUT_OFF, again)


def _end(
    transaction: Transaction,
    ours: Sequence[tuple[Outcome, _Open]],
    fares: dict[WebhookNumber, Health],
) -> None:
    """Ends deliveries; each makes way for the next event of its customer, if there is one."""
    over, followed = [], []
    for outcome, row in ours:
        health = fares[outcome.webhook]
        follower = _follower(transaction, row, health)
        if follower is None:
            over.append(row.n)
            continue
        due_at = outcome.now if health.may_get else None
        followed.append((row.n, {"event": follower, "now": outcome.now, "due_at": due_at}))
    transaction.run_each(_FOLLOW, followed)
    if over:
        transaction.run(_DELETE, over)


def _follower(transaction: Transaction, row: _Open, health: Health) -> EventNumber | None:
    if row.customer == NO_CUSTOMER or row.event >= health.position:
        return None
    ((follower,),) = transaction.fetch(
        _FOLLOWER,
        wanted_types(health.types),
        customer=row.customer,
        after=row.event,
        position=health.position,
        webhook=row.webhook,
    )
    return follower


def _record(transaction: Transaction, outcomes: Sequence[Outcome]) -> None:
    tried = [(each, each.try_) for each in outcomes if each.try_]
    numbers = row_numbers(transaction, attempts, len(tried)) if tried else []
    rows = [
        AttemptRow(
            AttemptNumber(number),
            outcome.webhook,
            EventNumber(outcome.event),
            *(try_.at, try_.took_ms, try_.status, try_.error, outcome.succeeded),
            outcome.retry_at,
        )
        for number, (outcome, try_) in zip(numbers, tried, strict=True)
    ]
    transaction.insert(_INSERT_ATTEMPTS, rows)


def _finished(each: tuple[Outcome, _Open] | None, fares: dict[WebhookNumber, Health]) -> Finished:
    if each is None:
        return Finished(False)
    health = fares[each[0].webhook]
    return Finished(True, health.reseller if health.lags_at(each[0].now) else None)
