"""Reading the log: one event, and those after a number, with as much of the log as they were found in.

A page is one statement, so that events and the bounds of the log are of one moment. A page with a
filter looks at a bounded part of the log: numbers have no gaps, so that is a range of them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import bindparam, func, select, true

from server.domain import ids
from server.domain.events import Event
from server.domain.filters import Filter, matches, required_value
from server.storage.events import filters
from server.storage.events.rows import event
from server.storage.interface.events import EventPage, LogBounds
from server.storage.interface.paging import MAX_LIST_CHARACTERS
from server.storage.resellers import reseller_number
from server.storage.schema.codes import EventTypeCode
from server.storage.schema.tables import (
    CustomerNumber,
    EventJson,
    EventNumber,
    EventRow,
    KeyId,
    OperationId,
    RequestId,
    ResellerNumber,
    SubjectId,
    customers,
    event_logs,
    events,
    operations,
)
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.times import Micros
from server.storage.sql.transactions import one_by_one

# Events that one page with a filter looks at: those of a thousand customers, so that more of them cost
# no more. Of one customer's, which an index finds, there are few.
_SCANNED = 3_000
_SCANNED_OF_CUSTOMER = 1_000
_NOTHING = LogBounds(0, 0)


class Place(NamedTuple):
    """An event to get."""

    reseller_id: str
    number: int


class Page(NamedTuple):
    """Which events to list."""

    reseller_id: str
    after: int
    filter_: Filter | None
    limit: int


class _Bounds(NamedTuple):
    cleared: EventNumber
    last: EventNumber


class _End(NamedTuple):
    reseller: ResellerNumber
    last: EventNumber


class _Customer(NamedTuple):
    n: CustomerNumber
    reseller: ResellerNumber


_EVENT = Query(
    EventRow,
    select(*events.c).where(
        events.c.reseller == bindparam("reseller"), events.c.number == bindparam("number")
    ),
    *("reseller", "number"),
)
_BOUNDS = Query(
    _Bounds,
    select(event_logs.c.cleared, event_logs.c.last).where(
        event_logs.c.reseller == bindparam("reseller")
    ),
    "reseller",
)
_ENDS = Query(
    _End, select(event_logs.c.reseller, event_logs.c.last).where(event_logs.c.reseller.in_(IDS))
)
_CUSTOMER = Query(
    _Customer, select(customers.c.n, customers.c.reseller).where(customers.c.id.in_(IDS))
)
# Of one that was taken back: the operation that made it has its number, and keeps its ID.
_TAKEN_BACK = Query(
    _Customer,
    select(operations.c.customer, operations.c.reseller).where(
        operations.c.id.in_(IDS), operations.c.customer_id.is_not(None)
    ),
)


class _PageRow(NamedTuple):
    """The log's bounds, how many events were found, and one of them; NULL where there is none."""

    cleared: EventNumber
    last: EventNumber
    found: int | None
    reseller: ResellerNumber
    number: EventNumber
    type: EventTypeCode
    created_at: Micros
    subject: SubjectId
    key_id: KeyId | None
    request_id: RequestId | None
    customer: CustomerNumber | None
    operation_id: OperationId | None
    data: EventJson


@lru_cache(maxsize=256)
def _page(filter_: Filter | None, *, of_customer: bool = False) -> Query[_PageRow]:
    """Makes what reads a page: its rows, how much text stands before each, those that fit."""
    rows = select(*events.c, func.length(events.c.data).label("text"))
    if of_customer:
        rows = rows.where(events.c.customer == bindparam("customer"))
    else:
        rows = rows.where(
            events.c.reseller == bindparam("reseller"), events.c.number <= bindparam("until")
        )
        if filter_ is not None:
            rows = rows.where(filters.condition(filter_))
    rows = rows.where(events.c.number > bindparam("after"))
    page = rows.order_by(events.c.number).limit(bindparam("limit")).subquery("page")
    before = func.sum(page.c.text).over(order_by=page.c.number) - page.c.text
    found = func.count().over().label("found")
    measured = select(found, page, before.label("before")).subquery("measured")
    fit = select(measured).where(measured.c.before < MAX_LIST_CHARACTERS).subquery("fit")
    log = event_logs.alias("log")
    return Query(
        _PageRow,
        select(log.c.cleared, log.c.last, *(fit.c[name] for name in _PageRow._fields[2:]))
        .select_from(log.outerjoin(fit, true()))
        .where(log.c.reseller == bindparam("log"))
        .order_by(fit.c.number),
        *("log", "reseller", "customer", "after", "until", "limit"),
    )


def get_events(transaction: Transaction, batch: Sequence[Place]) -> list[Event | None]:
    """Returns an event for each; see EventStorage.get_event."""
    return [_get_event(transaction, place) for place in batch]


def _get_event(transaction: Transaction, place: Place) -> Event | None:
    reseller = reseller_number(transaction, place.reseller_id)
    rows = (
        []
        if reseller is None
        else transaction.fetch(_EVENT, reseller=reseller, number=place.number)
    )
    return event(transaction, rows[0]) if rows else None


def get_bounds(transaction: Transaction, reseller_ids: Sequence[str]) -> list[LogBounds]:
    """Returns what is kept of each log; see EventStorage.get_log_bounds."""
    return [_get_bounds(transaction, reseller_id) for reseller_id in reseller_ids]


def _get_bounds(transaction: Transaction, reseller_id: str) -> LogBounds:
    reseller = reseller_number(transaction, reseller_id)
    rows = [] if reseller is None else transaction.fetch(_BOUNDS, reseller=reseller)
    return LogBounds(*rows[0]) if rows else _NOTHING


@one_by_one
def get_ends(transaction: Transaction, reseller_ids: Sequence[str]) -> list[int]:
    """Returns where logs end; see EventStorage.get_log_ends."""
    numbers = [reseller_number(transaction, each) for each in reseller_ids]
    known = [each for each in numbers if each is not None]
    rows = transaction.fetch(_ENDS, known) if known else []
    ends = {row.reseller: row.last for row in rows}
    return [0 if each is None else ends.get(each, 0) for each in numbers]


def list_events(transaction: Transaction, pages: Sequence[Page]) -> list[EventPage]:
    """Returns a page for each; see EventStorage.list_events."""
    return [_list_events(transaction, page) for page in pages]


def _list_events(transaction: Transaction, page: Page) -> EventPage:
    reseller = reseller_number(transaction, page.reseller_id)
    if reseller is None:
        return EventPage([], page.after, _NOTHING)
    customer_id = required_value(page.filter_, "customer", str)
    customer = _customer_number(transaction, reseller, customer_id) if customer_id else None
    limit, until = page.limit, page.after + _SCANNED
    if customer is not None:
        statement, limit = _page(None, of_customer=True), _SCANNED_OF_CUSTOMER
    elif page.filter_ is None:
        statement, until = _page(None), page.after + limit
    else:
        statement = _page(page.filter_)
    rows = transaction.fetch(
        statement,
        log=reseller,
        reseller=reseller,
        customer=customer,
        after=page.after,
        until=until,
        limit=limit,
    )
    if not rows:
        return EventPage([], page.after, _NOTHING)
    bounds = LogBounds(rows[0].cleared, rows[0].last)
    found = [event(transaction, EventRow(*row[3:])) for row in rows if row.found]
    looked_at = bounds.last if customer is not None else min(until, bounds.last)
    if rows[0].found and (rows[0].found == limit or len(found) < rows[0].found):
        looked_at = found[-1].number
    if customer is not None and page.filter_:
        found = [each for each in found if matches(page.filter_, each.value_of)]
    if len(found) > page.limit:
        found = found[: page.limit]
        looked_at = found[-1].number
    return EventPage(found, max(looked_at, page.after), bounds)


def _customer_number(
    transaction: Transaction, reseller: ResellerNumber, customer_id: str
) -> CustomerNumber | None:
    """Returns the number of a reseller's customer, also of one taken back; None: it is not known."""
    rows = transaction.fetch(_CUSTOMER, [customer_id])
    if not rows and customer_id.startswith(ids.CUSTOMER):
        rows = transaction.fetch(_TAKEN_BACK, [ids.OPERATION + customer_id[3:]])
    return next((row.n for row in rows if row.reseller == reseller), None)
