"""Writing the log: each change notes its event, and all of a transaction are written at its end.

Each reseller's events have the numbers 1, 2, 3 and on. Who writes some has the reseller's row in
`event_logs` locked from when it takes their numbers until its commit, so events become visible in the
order of their numbers, on every database: whoever has read up to one never misses an earlier one. It
is the last lock of a transaction, held for one INSERT and the COMMIT.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import text

from server.domain.access import Actor
from server.domain.events import EventType
from server.storage.schema.codes import EVENT_TYPE_CODES
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
    events,
)
from server.storage.sql.statements import Insert, Query, Transaction
from server.storage.sql.times import Micros
from server.telemetry.traces import TRACES


class _Last(NamedTuple):
    number: EventNumber


_TAKE_NUMBERS = Query(
    _Last,
    text(
        "INSERT INTO event_logs (reseller, last, cleared, oldest_at) "
        "VALUES (:reseller, :count, 0, :at) ON CONFLICT (reseller) DO UPDATE SET "
        "last = event_logs.last + excluded.last, "
        "oldest_at = coalesce(event_logs.oldest_at, excluded.oldest_at) RETURNING last"
    ),
    *("reseller", "count", "at"),
)
_INSERT = Insert(events, EventRow)

# The ID of an operation that ends like its customer's, as rows keep it.
DERIVED = ""


class NewEvent(NamedTuple):
    """An event that a transaction brings about. `operation_id` may be DERIVED.

    `then` is called with its number once it is written.
    """

    reseller: ResellerNumber
    type: EventType
    at: Micros
    actor: Actor
    data: EventJson
    customer: CustomerNumber | None = None
    operation_id: str | None = None
    then: Callable[[EventNumber], None] | None = None


def log(transaction: Transaction, event: NewEvent) -> None:
    """Notes an event, to be written before the commit."""
    if not transaction.events:
        transaction.last_steps.append(lambda: _write(transaction))
    transaction.events.append(event)


def _write(transaction: Transaction) -> None:
    logs: dict[ResellerNumber, list[NewEvent]] = {}
    for event in transaction.events:
        logs.setdefault(event.reseller, []).append(event)
    written: list[NewEvent] = []
    rows: list[EventRow] = []
    for reseller in sorted(
        logs
    ):  # in one order, so that two transactions don't wait for each other
        new = logs[reseller]
        ((last,),) = transaction.fetch(
            _TAKE_NUMBERS, reseller=reseller, count=len(new), at=new[0].at
        )
        written += new
        rows += [_row(event, last - len(new) + place) for place, event in enumerate(new, 1)]
    transaction.insert(_INSERT, rows)
    transaction.logged = tuple(logs)
    for event, row in zip(written, rows, strict=True):
        if event.then:
            event.then(row.number)


def _row(event: NewEvent, number: int) -> EventRow:
    subject, key_id, request_id = event.actor
    return EventRow(
        event.reseller,
        EventNumber(number),
        EVENT_TYPE_CODES[event.type],
        event.at,
        SubjectId(subject),
        None if key_id is None else KeyId(key_id),
        None if request_id is None else RequestId(TRACES.origin(request_id)),
        event.customer,
        None if event.operation_id is None else OperationId(event.operation_id),
        event.data,
    )
