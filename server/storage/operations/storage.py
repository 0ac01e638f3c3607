"""The operations' part of the storage, and waiting for their end."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

from server.domain.access import Actor
from server.domain.filters import Filter
from server.domain.operations import Operation
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.operations import OperationStorage
from server.storage.interface.paging import Cursor, Part
from server.storage.keys import KeyLifetime
from server.storage.notify.notifier import LOOK_EVERY, Notifier, wait
from server.storage.operations.lists import OperationPage, list_operations
from server.storage.operations.read import get_operations
from server.storage.operations.requests import (
    Cancellation,
    Deletion,
    cancel_operations,
    delete_operations,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.inline_reads import InlineReads
from server.storage.sql.times import micros


class SqlOperations:
    """Implements `interface.OperationStorage`."""

    def __init__(
        self, writes: Batcher, reads: Batcher, inline: InlineReads, keys: KeyLifetime
    ) -> None:
        self._writes = writes
        self._reads = reads
        self._inline = inline
        self._keys = keys

    async def get_operation(self, operation_id: str) -> Operation | None:
        return await self._inline.read(get_operations, operation_id)

    async def list_operations(
        self,
        reseller_ids: Collection[str],
        filter_: Filter | None,
        limit: int,
        after: Cursor | None,
    ) -> Part[Operation]:
        page = OperationPage(list(dict.fromkeys(reseller_ids)), filter_, limit, after)
        return await self._reads.submit(list_operations, page)

    async def cancel_operation(
        self, operation_id: str, now: datetime, actor: Actor, key: IdempotencyKey | None
    ) -> Operation | None:
        use = self._keys.keyed(key, now)
        request = Cancellation(operation_id, micros(now), actor, use)
        return await self._writes.submit(cancel_operations, request)

    async def delete_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> bool:
        request = Deletion(operation_id, self._keys.keyed(key, now))
        return await self._writes.submit(delete_operations, request)


class SqlWaits:
    """Implements `interface.WaitStorage`."""

    def __init__(self, operations: OperationStorage, notifier: Notifier) -> None:
        self._operations = operations
        self._notifier = notifier

    async def wait_operation(
        self,
        operation_id: str,
        longest: timedelta,
        before_look: Callable[[], Awaitable[None]] | None = None,
    ) -> Operation | None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + longest.total_seconds()
        with self._notifier.operation(operation_id) as ended:
            while True:
                ended.clear()
                operation = await self._operations.get_operation(operation_id)
                left_s = ends_at - loop.time()
                over = left_s <= 0 or self._notifier.ended
                if operation is None or operation.done or over:
                    return operation
                await wait(ended, min(left_s, LOOK_EVERY.total_seconds()))
                if before_look:
                    await before_look()

    def end_waits(self) -> None:
        self._notifier.end_waits()
