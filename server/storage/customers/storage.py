"""The customers' part of the storage."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from server.domain.access import Actor
from server.domain.customer_changes import CustomerChanges
from server.domain.customers import Customer, CustomerList, NewCustomer
from server.domain.limits import Limits
from server.domain.operations import Operation
from server.storage.customers.create import Creation, create_customers
from server.storage.customers.deletion import Deletion, delete_customers, undelete_customers
from server.storage.customers.lists import CustomerPage, list_customers
from server.storage.customers.read import get_customers, get_many_customers
from server.storage.customers.states import StateChange, change_customer_states
from server.storage.customers.update import About, Update, update_customers
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Part
from server.storage.keys import KeyLifetime
from server.storage.sql.batches import Batcher
from server.storage.sql.inline_reads import InlineReads
from server.storage.sql.times import micros
from server.storage.sql.transactions import BatchHandler
from server.storage.sql.transactions import dry_run as without_effect

A = TypeVar("A")
R = TypeVar("R")


def _handler(handler: BatchHandler[A, R], is_dry: bool) -> BatchHandler[A, R]:
    """Returns what does what is asked, or only finds what would come of it."""
    return without_effect(handler) if is_dry else handler


class SqlCustomers:
    """Implements `interface.CustomerStorage`."""

    def __init__(
        self,
        writes: Batcher,
        reads: Batcher,
        inline: InlineReads,
        keys: KeyLifetime,
        limits: Limits,
    ) -> None:
        self._writes = writes
        self._reads = reads
        self._inline = inline
        self._keys = keys
        self._limits = limits

    async def create_customer(
        self, new: NewCustomer, key: IdempotencyKey | None, *, dry_run: bool = False
    ) -> Operation:
        use = self._keys.keyed(key, new.operation.created_at)
        creation = Creation(new, use, self._limits)
        return await self._writes.submit(_handler(create_customers, dry_run), creation)

    async def update_customer(
        self,
        reseller_id: str,
        customer_id: str,
        changes: CustomerChanges,
        etag: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Customer | None:
        use = self._keys.keyed(key, now)
        about = About(reseller_id, customer_id, etag, micros(now), actor, use)
        return await self._writes.submit(
            _handler(update_customers, dry_run), Update(changes, about)
        )

    async def change_customer_state(
        self,
        operation: Operation,
        actor: Actor,
        key: IdempotencyKey | None,
        etag: str = "",
        *,
        dry_run: bool = False,
    ) -> Operation | None:
        use = self._keys.keyed(key, operation.created_at)
        change = StateChange(operation, actor, use, etag)
        return await self._writes.submit(_handler(change_customer_states, dry_run), change)

    async def delete_customer(
        self,
        reseller_id: str,
        customer_id: str,
        etag: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
        *,
        allow_missing: bool = False,
        dry_run: bool = False,
    ) -> Customer | None:
        use = self._keys.keyed(key, now)
        about = About(reseller_id, customer_id, etag, micros(now), actor, use)
        deletion = Deletion(allow_missing, about)
        return await self._writes.submit(_handler(delete_customers, dry_run), deletion)

    async def undelete_customer(
        self,
        reseller_id: str,
        customer_id: str,
        etag: str,
        now: datetime,
        actor: Actor,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Customer | None:
        use = self._keys.keyed(key, now)
        about = About(reseller_id, customer_id, etag, micros(now), actor, use)
        return await self._writes.submit(_handler(undelete_customers, dry_run), about)

    async def get_customer(self, customer_id: str) -> Customer | None:
        return await self._inline.read(get_customers, customer_id)

    async def get_customers(self, customer_ids: Sequence[str]) -> dict[str, Customer]:
        if not customer_ids:
            return {}
        return await self._reads.submit(get_many_customers, customer_ids)

    async def list_customers(
        self, wanted: CustomerList, limit: int, after: Cursor | None
    ) -> Part[Customer]:
        return await self._reads.submit(list_customers, CustomerPage(wanted, limit, after))
