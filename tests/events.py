"""Events for tests, written as every change writes its own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete

from server.domain.access import Actor, Role
from server.domain.events import EventType
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import role_json
from server.storage.interface import Storage
from server.storage.resellers import require_reseller
from server.storage.schema.tables import CustomerNumber, EventJson, event_logs, events
from server.storage.sql.statements import Statement, Transaction
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage

_FORGET = [Statement(delete(events)), Statement(delete(event_logs))]

AT = datetime(2030, 1, 1, tzinfo=UTC)


class Happening(NamedTuple):
    """Something to write to the log; about a customer, with that one's number."""

    reseller_id: str
    type: EventType = EventType.ACCESS_GRANTED
    at: datetime = AT
    subject: str = "operator:test"
    customer: tuple[int, str] | None = None


def write_happenings(transaction: Transaction, batch: Sequence[Happening]) -> list[None]:
    """Notes events, to be written at the end of the transaction."""
    for each in batch:
        at = micros(each.at)
        data, customer = role_json("ajesubject", Role.VIEWER, at), None
        if each.customer:
            customer = CustomerNumber(each.customer[0])
            data = EventJson(f'["{each.customer[1]}",2,"Name","{{}}",null,{at},{at},null]')
        log(
            transaction,
            NewEvent(
                require_reseller(transaction, each.reseller_id),
                *(each.type, at, Actor(each.subject), data, customer),
            ),
        )
    return [None] * len(batch)


async def happen(storage: Storage, *happenings: Happening) -> None:
    """Writes events, those given together in one transaction."""
    assert isinstance(storage, SqlStorage)

    def write(transaction: Transaction, batch: Sequence[Sequence[Happening]]) -> list[None]:
        for each in batch:
            write_happenings(transaction, each)
        return [None] * len(batch)

    await storage._writes.submit(write, happenings)


def series(reseller_id: str, count: int, start: datetime = AT) -> list[Happening]:
    """Returns so many, a second apart."""
    return [Happening(reseller_id, at=start + timedelta(seconds=number)) for number in range(count)]


async def forget_events(storage: Storage) -> None:
    """Clears the logs as if nothing had happened, for tests that count what comes."""
    assert isinstance(storage, SqlStorage)

    def forget(transaction: Transaction, batch: Sequence[None]) -> list[None]:
        for statement in _FORGET:
            transaction.run(statement)
        return [None] * len(batch)

    await storage._writes.submit(forget, None)
