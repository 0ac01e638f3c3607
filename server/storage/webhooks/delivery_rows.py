"""What changes of a webhook, or of its reseller, do to its deliveries.

Whoever calls these has the webhook's row locked, and has changed it already.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    true,
    update,
)

from server.domain.events import EventType
from server.storage.numbers import row_numbers
from server.storage.resellers import IS_HELD
from server.storage.schema.codes import EVENT_TYPE_CODES, EventTypeCode
from server.storage.schema.columns import Code
from server.storage.schema.tables import (
    CustomerNumber,
    DeliveryNumber,
    EventNumber,
    ResellerNumber,
    TypesJson,
    WebhookNumber,
    events,
    resellers,
)
from server.storage.schema.webhook_tables import DeliveryRow, deliveries, webhooks
from server.storage.sql.json_texts import from_json
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros

# Whose events come in no order.
NO_CUSTOMER = CustomerNumber(0)
TEST = EVENT_TYPE_CODES[EventType.WEBHOOK_TEST]
_NONE = EventTypeCode(Code(0))
# What `webhooks.alert` says of one that was disabled for its failures (`health`).
DISABLED = "disabled"
# Up to which number a backlog is counted, and how much of the log is looked at for it.
MOST_COUNTED, MOST_LOOKED_AT = 10_000, 100_000

_d, _e, _w = deliveries.c, events.c, webhooks.c

IS_ACTIVE = and_(_w.enabled, ~IS_HELD)
"""Whether a webhook gets anything at all; until it is verified, tests alone."""


class _Number(NamedTuple):
    n: int


class _WebhookState(NamedTuple):
    is_active: bool
    is_verified: bool


_STATE = Query(
    _WebhookState,
    select(IS_ACTIVE, _w.verified_at.is_not(None))
    .join_from(webhooks, resellers, resellers.c.n == _w.reseller)
    .where(_w.n.in_(IDS)),
)
_HOLD = Statement(update(deliveries).where(_d.webhook.in_(IDS)).values(due_at=None, claimed=False))
_is_test = exists().where(_e.reseller == _d.reseller, _e.number == _d.event, _e.type == TEST)


def _release(which: ColumnElement[bool]) -> Statement:
    now: BindParameter[int] = bindparam("now", type_=_d.due_at.type)
    return Statement(
        update(deliveries)
        .where(_d.webhook.in_(IDS), _d.due_at.is_(None), which)
        .values(due_at=now, requested_at=now, tries=0, deferral=None),
        "now",
    )


_RELEASE, _RELEASE_TESTS = _release(true()), _release(_is_test)
_BEGIN_ANEW = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS))
    .values(
        failing_since=None,
        paused_until=None,
        no_new_until=None,
        alert=None,
        due_at=None,
        claimed=False,
        deferral=None,
    )
)
# Of one that gets nothing nobody is warned.
_NO_WARNING = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS), _w.alert != DISABLED)
    .values(alert=None, due_at=None, claimed=False, deferral=None)
)
_LOCK_OF_RESELLER = Query(
    _Number,
    select(_w.n).where(_w.reseller.in_(IDS)).order_by(_w.n).with_for_update(),
)
_FIND = Query(
    _Number,
    select(_d.n).where(_d.webhook.in_(IDS), _d.event == bindparam("event")),
    "event",
)
_SEND_AGAIN = Statement(
    update(deliveries)
    .where(_d.n.in_(IDS))
    .values(
        due_at=bindparam("due_at"),
        requested_at=bindparam("now"),
        tries=0,
        deferral=None,
        claimed=False,
    ),
    *("due_at", "now"),
)
INSERT = Insert(deliveries, DeliveryRow)
_DROP_AFTER = Statement(
    delete(deliveries).where(
        _d.webhook.in_(IDS), _d.event > bindparam("after"), _d.customer != NO_CUSTOMER
    ),
    "after",
)
_REWIND = Statement(
    update(webhooks)
    .where(_w.n.in_(IDS), _w.position > bindparam("after"))
    .values(position=bindparam("after")),
    "after",
)
_DELETE = Statement(delete(deliveries).where(_d.webhook.in_(IDS)))


def hold_deliveries(transaction: Transaction, webhook: WebhookNumber) -> None:
    """Has nothing sent to a webhook from now on; what is under way may still arrive."""
    transaction.run(_HOLD, [webhook])
    transaction.run(_NO_WARNING, [webhook])


def release_deliveries(transaction: Transaction, webhook: WebhookNumber, now: Micros) -> None:
    """Makes due what was held and may be sent now; what has failed is forgotten.

    To one that is not verified only tests, to one that is disabled or of a held reseller nothing.
    """
    ((is_active, is_verified),) = transaction.fetch(_STATE, [webhook])
    if is_active:
        transaction.run(_BEGIN_ANEW, [webhook])
        transaction.run(_RELEASE if is_verified else _RELEASE_TESTS, [webhook], now=now)
    transaction.has_deliveries = True


def hold_reseller(transaction: Transaction, reseller: ResellerNumber) -> None:
    """Has nothing sent to webhooks of a reseller, whose row is locked, from now on."""
    locked = transaction.fetch(_LOCK_OF_RESELLER, [reseller])
    for statement in (_HOLD, _NO_WARNING) if locked else ():
        transaction.run(statement, [each.n for each in locked])


def release_reseller(transaction: Transaction, reseller: ResellerNumber, now: Micros) -> None:
    """Makes due what was held of a reseller, whose row is locked."""
    for each in transaction.fetch(_LOCK_OF_RESELLER, [reseller]):
        release_deliveries(transaction, WebhookNumber(each.n), now)


def add_delivery(
    transaction: Transaction,
    webhook: WebhookNumber,
    reseller: ResellerNumber,
    event: EventNumber,
    now: Micros,
) -> None:
    """Has an event of the log sent at once to a webhook that is active, out of all order.

    Where its reseller is held, of which a server may have missed the news, it waits. One that is on its
    way there already begins anew with its tries. For a `webhook.test`, call this from `NewEvent.then`.
    """
    transaction.has_deliveries = True
    ((is_active, _),) = transaction.fetch(_STATE, [webhook])
    due_at = now if is_active else None
    found = transaction.fetch(_FIND, [webhook], event=event)
    if found:
        transaction.run(_SEND_AGAIN, [found[0].n], due_at=due_at, now=now)
        return
    (number,) = row_numbers(transaction, deliveries, 1)
    row = DeliveryRow(DeliveryNumber(number), webhook, reseller, event, NO_CUSTOMER, now, due_at)
    transaction.insert(INSERT, [row])


# A test is an event of the log like any other, but sent to one webhook alone.
add_test_delivery = add_delivery


def rewind_deliveries(transaction: Transaction, webhook: WebhookNumber, after: EventNumber) -> None:
    """Has all events after a number sent again to a webhook, as if they were new."""
    transaction.run(_DROP_AFTER, [webhook], after=after)
    transaction.run(_REWIND, [webhook], after=after)
    transaction.has_deliveries = True


def delete_deliveries(transaction: Transaction, webhook: WebhookNumber) -> None:
    """Deletes all that is still to be sent to a webhook."""
    transaction.run(_DELETE, [webhook])


def wanted_types(types: TypesJson) -> Sequence[EventTypeCode]:
    """Returns the types of events that a webhook gets without being asked, from its row.

    Where it gets none, one that no event has: a query needs one.
    """
    names = from_json(types)
    wanted = [EventType(name) for name in names] if names else list(EventType)
    codes = [EVENT_TYPE_CODES[each] for each in wanted if each is not EventType.WEBHOOK_TEST]
    return codes or [_NONE]


class _Backlog(NamedTuple):
    events: int


_waiting = (
    select(_e.number)
    .join_from(webhooks, events, _e.reseller == _w.reseller)
    .where(
        _w.n == bindparam("webhook"),
        _e.number > _w.position,
        _e.number <= _w.position + MOST_LOOKED_AT,
        _e.type.in_(IDS),
    )
    .limit(MOST_COUNTED)
    .subquery()
)
_following = (
    select(_e.number)
    .join_from(deliveries, webhooks, _w.n == _d.webhook)
    .join(
        events,
        and_(_e.customer == _d.customer, _e.number > _d.event, _e.number <= _w.position),
    )
    .where(_d.webhook == bindparam("webhook"), _d.customer != NO_CUSTOMER, _e.type.in_(IDS))
    .limit(MOST_COUNTED)
    .subquery()
)
_open = select(_d.n).where(_d.webhook == bindparam("webhook")).limit(MOST_COUNTED).subquery()


def _count(rows: Any) -> ColumnElement[int]:
    counted: ColumnElement[int] = select(func.count()).select_from(rows).scalar_subquery()
    return counted


_BACKLOG = Query(_Backlog, select(_count(_waiting) + _count(_following) + _count(_open)), "webhook")


def count_backlog(transaction: Transaction, webhook: WebhookNumber, types: TypesJson) -> int:
    """Returns how many events a webhook has yet to get; counts up to 10,000.

    Of the log no more than the next 100,000 events are looked at: who wants few of them may have more.
    """
    ((count,),) = transaction.fetch(_BACKLOG, wanted_types(types), webhook=webhook)
    return min(count, MOST_COUNTED)
