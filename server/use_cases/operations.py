"""Reading, cancelling, deleting and waiting for operations."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from server.domain.access import Permission, Subject
from server.domain.operations import Operation
from server.storage.interface import (
    Cursor,
    IdempotencyKey,
    Listed,
    OperationStorage,
    WaitStorage,
)


class Operations:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(
        self, operations: OperationStorage, waits: WaitStorage, clock: Callable[[], datetime]
    ) -> None:
        self._operations = operations
        self._waits = waits
        self._clock = clock

    async def get(
        self, caller: Subject, operation_id: str, permission: Permission = Permission.READ
    ) -> Operation | None:
        """Returns an operation that the caller has the permission for."""
        operation = await self._operations.get_operation(operation_id)
        if operation:
            caller.require(permission, operation.reseller_id)
        else:
            caller.require_any(permission)
        return operation

    async def page(
        self, caller: Subject, done: bool | None, limit: int, after: Cursor | None
    ) -> Sequence[Listed[Operation]]:
        """Returns at most `limit` operations of all the caller's resellers, newest first."""
        resellers = caller.resellers(Permission.READ)
        return await self._operations.list_operations(resellers, done, limit, after)

    async def cancel(
        self, caller: Subject, operation_id: str, request_id: str, key: IdempotencyKey | None
    ) -> Operation | None:
        """Cancels as far as that is still possible. Raises IDEMPOTENCY_KEY_REUSED."""
        if await self.get(caller, operation_id, Permission.WRITE) is None:
            return None
        return await self._operations.cancel_operation(
            operation_id, self._clock(), caller.actor(request_id), key
        )

    async def delete(self, caller: Subject, operation_id: str, key: IdempotencyKey | None) -> bool:
        """Deletes a finished operation's record; False where there is none.

        Raises OPERATION_RUNNING, IDEMPOTENCY_KEY_REUSED.
        """
        # Not there any more: a repeat by key is still to be told that it is done.
        await self.get(caller, operation_id, Permission.WRITE)
        return await self._operations.delete_operation(operation_id, self._clock(), key)

    async def wait(
        self,
        caller: Subject,
        operation_id: str,
        longest: timedelta,
        prove_again: Callable[[], Awaitable[Subject]],
    ) -> Operation | None:
        """Returns the operation once it is done or the time is over.

        `prove_again` tells who the caller is by then: whose right, or token, ends while it waits is
        refused within seconds. Raises what it raises.
        """
        operation = await self.get(caller, operation_id)
        if operation is None or operation.done:
            return operation
        reseller_id = operation.reseller_id

        async def still_permitted() -> None:
            (await prove_again()).require(Permission.READ, reseller_id)

        return await self._waits.wait_operation(operation_id, longest, still_permitted)
