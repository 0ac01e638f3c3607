"""Makes deliveries of events when their turn comes: the log itself is the backlog.

A webhook has few under way, so that none takes the slots of others. Where a customer has one open,
its later events are passed over: who ends that one finds the next in the log (`outcomes`).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, or_, select, update

from server.storage.numbers import row_numbers
from server.storage.schema.codes import EventTypeCode
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerNumber,
    DeliveryNumber,
    EventNumber,
    ResellerNumber,
    TypesJson,
    WebhookNumber,
    event_logs,
    events,
    resellers,
)
from server.storage.schema.webhook_tables import DeliveryRow, deliveries, webhooks
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros
from server.storage.webhooks.delivery_rows import INSERT, IS_ACTIVE, NO_CUSTOMER, wanted_types

# How many deliveries a webhook may have under way, and one whose latest have all failed.
MOST_AT_ONCE, MOST_WHILE_FAILING = 16, 1
# With so many that wait for another try, it gets nothing new.
MOST_PUT_OFF = 1000
# How much of the log is looked at in one go.
_PAGE = 256

_w, _d, _e = webhooks.c, deliveries.c, events.c
_now = bindparam("now", type_=_w.paused_until.type)


def _until(at: ColumnElement[int]) -> ColumnElement[bool]:
    return or_(at.is_(None), at <= _now)


# A webhook that may get new events, of which there are some.
_IS_BEHIND = and_(
    _w.position < event_logs.c.last,
    IS_ACTIVE,
    _w.verified_at.is_not(None),
    _until(_w.paused_until),
    _until(_w.no_new_until),
)


def _webhooks(*columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .join_from(webhooks, event_logs, event_logs.c.reseller == _w.reseller)
        .join(resellers, resellers.c.n == _w.reseller)
    )


class _Number(NamedTuple):
    n: WebhookNumber


class _Reseller(NamedTuple):
    n: ResellerNumber


class _Behind(NamedTuple):
    n: WebhookNumber
    reseller: ResellerNumber
    types: TypesJson
    position: EventNumber
    failing_since: Micros | None


_LOCK_BEHIND = Query(
    _Number,
    _webhooks(_w.n)
    .where(_w.reseller.in_(IDS), _IS_BEHIND)
    .order_by(_w.n)
    .with_for_update(of=webhooks, skip_locked=True),
    "now",
)
# Once more, since what was read before the lock may have changed; also those that others hold.
_BEHIND = Query(
    _Behind,
    _webhooks(_w.n, _w.reseller, _w.types, _w.position, _w.failing_since)
    .where(_w.reseller.in_(IDS), _IS_BEHIND)
    .order_by(_w.n),
    "now",
)
RESELLERS_BEHIND = Query(_Reseller, _webhooks(_w.reseller).where(_IS_BEHIND).distinct(), "now")


class _Open(NamedTuple):
    webhook: WebhookNumber
    event: EventNumber
    customer: CustomerNumber
    is_put_off: bool


_OPEN = Query(
    _Open,
    select(_d.webhook, _d.event, _d.customer, and_(_d.deferral.is_not(None), ~_d.claimed)).where(
        _d.webhook.in_(IDS)
    ),
)


class _Logged(NamedTuple):
    number: EventNumber
    type: EventTypeCode
    customer: CustomerNumber | None


_LOG = Query(
    _Logged,
    select(_e.number, _e.type, _e.customer)
    .where(_e.reseller == bindparam("reseller"), _e.number > bindparam("after"))
    .order_by(_e.number)
    .limit(_PAGE),
    *("reseller", "after"),
)
_MOVE = Statement(
    update(webhooks).where(_w.n.in_(IDS)).values(position=bindparam("position")), "position"
)


class FannedOut(NamedTuple):
    """Deliveries that were made, all claimed; and resellers whose webhooks can have more.

    unfinished: at once. passed_over: once others let go of them.
    """

    made: Sequence[DeliveryRow]
    unfinished: Collection[ResellerNumber] = ()
    passed_over: Collection[ResellerNumber] = ()


def fan_out(
    transaction: Transaction,
    resellers_: Iterable[ResellerNumber],
    now: Micros,
    lease_until: Micros,
    limit: int,
) -> FannedOut:
    """Makes at most `limit` deliveries for webhooks of these resellers, each its share."""
    wanted = list(resellers_)
    if not wanted:
        return FannedOut([])
    numbers = [each.n for each in transaction.fetch(_LOCK_BEHIND, wanted, now=now)]
    found = transaction.fetch(_BEHIND, wanted, now=now)
    behind = [each for each in found if each.n in numbers]
    passed_over = {each.reseller for each in found if each.n not in numbers}
    if not behind:
        return FannedOut([], passed_over=passed_over)
    opened: dict[WebhookNumber, list[_Open]] = {each.n: [] for each in behind}
    for each in transaction.fetch(_OPEN, list(opened)):
        opened[each.webhook].append(each)
    pages: dict[tuple[ResellerNumber, EventNumber], list[_Logged]] = {}
    rows: list[DeliveryRow] = []
    moves: list[tuple[WebhookNumber, dict[str, EventNumber]]] = []
    unfinished = set()
    for place, webhook in enumerate(behind):
        free = _free(webhook, opened[webhook.n])
        share = -(-(limit - len(rows)) // (len(behind) - place))
        if not free:
            continue
        start = webhook.reseller, webhook.position
        if start not in pages:
            pages[start] = transaction.fetch(_LOG, reseller=start[0], after=start[1])
        chosen, position = _chosen(webhook, opened[webhook.n], pages[start], min(free, share))
        rows += [
            DeliveryRow(
                n=DeliveryNumber(0),
                webhook=webhook.n,
                reseller=webhook.reseller,
                event=event.number,
                customer=event.customer or NO_CUSTOMER,
                requested_at=now,
                due_at=lease_until,
                claimed=True,
                attempts=Count(1),
            )
            for event in chosen
        ]
        if position != webhook.position:
            moves.append((webhook.n, {"position": position}))
        page = pages[start]
        if len(chosen) < free and (len(page) == _PAGE or position < page[-1].number):
            unfinished.add(webhook.reseller)
    transaction.run_each(_MOVE, moves)
    return FannedOut(_inserted(transaction, rows), unfinished, passed_over)


def _free(webhook: _Behind, opened: Sequence[_Open]) -> int:
    """Returns how many deliveries a webhook may have in addition."""
    put_off = sum(each.is_put_off for each in opened)
    most = MOST_AT_ONCE if webhook.failing_since is None else MOST_WHILE_FAILING
    return max(min(most - (len(opened) - put_off), MOST_PUT_OFF - put_off), 0)


def _chosen(
    webhook: _Behind, opened: Sequence[_Open], page: Sequence[_Logged], most: int
) -> tuple[list[_Logged], EventNumber]:
    """Returns which events of a page to send, and up to where it is done."""
    types = set(wanted_types(webhook.types))
    busy = {each.customer for each in opened}
    there = {each.event for each in opened}
    chosen: list[_Logged] = []
    position = webhook.position
    for event in page:
        fits = event.type in types and event.number not in there
        if fits and (event.customer is None or event.customer not in busy):
            if len(chosen) == most:
                break
            chosen.append(event)
            if event.customer is not None:
                busy.add(event.customer)
        position = event.number
    return chosen, position


def _inserted(transaction: Transaction, rows: Sequence[DeliveryRow]) -> list[DeliveryRow]:
    """Inserts rows with numbers of their own."""
    if not rows:
        return []
    numbers = row_numbers(transaction, deliveries, len(rows))
    numbered = [
        row._replace(n=DeliveryNumber(number)) for row, number in zip(rows, numbers, strict=True)
    ]
    transaction.insert(INSERT, numbered)
    return numbered
