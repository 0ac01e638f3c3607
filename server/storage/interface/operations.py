"""Operations: read, cancelled and deleted by callers, and waited for."""

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol

from server.domain.access import Actor
from server.domain.filters import Filter
from server.domain.operations import Operation
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Part


class OperationStorage(Protocol):
    """Keeps the records of operations."""

    async def get_operation(self, operation_id: str) -> Operation | None:
        """Returns the operation, or None."""
        ...

    async def list_operations(
        self,
        reseller_ids: Collection[str],
        filter_: Filter | None,
        limit: int,
        after: Cursor | None,
    ) -> Part[Operation]:
        """Returns at most `limit` operations of the resellers, newest first, past the cursor.

        Where the filter is not served by an index, a page looks at a thousand operations of each
        reseller and ends, full or not.
        """
        ...

    async def cancel_operation(
        self, operation_id: str, now: datetime, actor: Actor, key: IdempotencyKey | None
    ) -> Operation | None:
        """Cancels what has not been begun, and returns the operation as it then is.

        An operation with no claim running ends CANCELLED; the customer and the invitation that it
        made are removed. One that a worker holds is marked: it completes if the e-mail goes out, and
        ends CANCELLED otherwise. A finished one is left as it is. None: no such operation.
        Raises IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def delete_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> bool:
        """Deletes a finished operation's record; the customer stays. False: no such operation.

        Raises OPERATION_RUNNING, IDEMPOTENCY_KEY_REUSED. A key seen before is True, and does nothing.
        """
        ...


class WaitStorage(Protocol):
    """Tells when operations end."""

    async def wait_operation(
        self,
        operation_id: str,
        longest: timedelta,
        before_look: Callable[[], Awaitable[None]] | None = None,
    ) -> Operation | None:
        """Returns the operation as soon as it is done, or as it is when the time is over.

        `before_look` is awaited before each look after the first, once a second at least; what it
        raises ends the wait.
        """
        ...

    def end_waits(self) -> None:
        """Ends the time of all `wait_operation`s, later ones too: the process is about to stop."""
        ...
