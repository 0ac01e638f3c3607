"""Reads the log as it stands in the tables."""

from collections.abc import Sequence

from sqlalchemy import select

from server.domain.events import Event
from server.storage import resellers
from server.storage.events.rows import event
from server.storage.schema.tables import EventRow, events
from server.storage.sql.statements import Query, Transaction
from server.storage.storage import SqlStorage
from tests.storage.records import RESELLER

_ALL = Query(EventRow, select(*events.c).order_by(events.c.reseller, events.c.number))


async def logged(storage: SqlStorage, reseller_id: str = RESELLER) -> list[Event]:
    """Returns all events of a reseller, in their order."""

    def read(transaction: Transaction, batch: Sequence[None]) -> list[list[Event] | Exception]:
        number = resellers.reseller_number(transaction, reseller_id)
        found = [row for row in transaction.fetch(_ALL) if row.reseller == number]
        return [[event(transaction, row) for row in found] for _ in batch]

    return await storage._reads.submit(read, None)


async def latest(storage: SqlStorage, reseller_id: str = RESELLER) -> Event:
    """Returns the last event of a reseller."""
    return (await logged(storage, reseller_id))[-1]
