"""The part of the storage for those who run the service."""

from collections.abc import Sequence
from datetime import datetime

from server.domain.access import AuditRecord
from server.domain.errors import BillingError, Reason
from server.storage.access.changes import record
from server.storage.customers.erase import (
    Erasure,
    erase_customer,
    find_customer_number,
    unknown_customer,
)
from server.storage.interface.operators import Found, WaitingMail
from server.storage.operators.find import Search, is_known, search
from server.storage.operators.waiting_mail import (
    MOST_AT_ONCE,
    Retry,
    list_waiting,
    retry,
)
from server.storage.sql.batches import Batcher

# How many of those that were found are named in the audit.
_MOST_NAMED = 5


class SqlOperators:
    """Implements `interface.OperatorStorage`."""

    def __init__(self, writes: Batcher, reads: Batcher) -> None:
        self._writes = writes
        self._reads = reads

    async def find_by_address(self, email: str, now: datetime, by: str) -> Found:
        found = await self._reads.submit(search, Search(email=email))
        # The address itself is the owner's: the audit tells what was found.
        await self._record(now, by, "invitations.find", "an address", _named(found))
        return found

    async def find_by_id(self, id_: str, now: datetime, by: str) -> Found:
        found = await self._reads.submit(search, Search(id=id_))
        await self._record(now, by, "invitations.find", id_, _named(found))
        return found

    async def list_waiting_mail(self, limit: int, now: datetime, by: str) -> Sequence[WaitingMail]:
        rows = await self._reads.submit(list_waiting, limit)
        await self._record(now, by, "mail.queue", "mail", f"e-mails: {len(rows)}")
        return rows

    async def retry_mail(self, ids: Sequence[str], now: datetime, by: str) -> int:
        for id_ in ids:
            if not await self._reads.submit(is_known, id_):
                raise BillingError(
                    Reason.NOT_FOUND,
                    f"there is no invitation or operation {id_}, and none was changed; see `mail queue`",
                )
        count = await self._writes.submit(retry, Retry(ids, now, by))
        total = count
        while not ids and count == MOST_AT_ONCE:
            count = await self._writes.submit(retry, Retry(ids, now, by, is_first=False))
            total += count
        return total

    async def erase_customer(self, customer_id: str, now: datetime, by: str) -> bool:
        number = await self._reads.submit(find_customer_number, customer_id)
        if number is None:
            raise unknown_customer(customer_id)
        return await self._writes.submit(erase_customer, Erasure(customer_id, number, now, by))

    async def _record(self, now: datetime, by: str, action: str, target: str, details: str) -> None:
        await self._writes.submit(record, AuditRecord(now, by, action, target, details))


def _named(found: Found) -> str:
    """Returns the IDs of some of what was found."""
    some = ", ".join(each.invitation.id for each in found.invitations[:_MOST_NAMED])
    return some + (", …" if len(found.invitations) > _MOST_NAMED else "")
