"""Reading, cancelling, deleting and waiting for operations."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from server.domain.access import Permission, Subject
from server.domain.customers import Customer
from server.domain.filters import Filter
from server.domain.invitations import Invitation, as_of
from server.domain.operations import Operation, OperationKind
from server.storage.interface import (
    MAX_LIST_CHARACTERS,
    Cursor,
    CustomerStorage,
    IdempotencyKey,
    InvitationStorage,
    Listed,
    OperationStorage,
    Part,
    WaitStorage,
)

# Operations of a page whose subjects are read at once.
_AT_ONCE = 100


class OperationWithSubject(NamedTuple):
    """An operation, and what it was about, as that is now.

    `subject` is the invitation of a resend, and the customer of any other that is on one and has
    succeeded; None for the rest, and for what is there no longer.
    """

    operation: Operation
    subject: Customer | Invitation | None


class Operations:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(
        self,
        operations: OperationStorage,
        waits: WaitStorage,
        customers: CustomerStorage,
        invitations: InvitationStorage,
        clock: Callable[[], datetime],
    ) -> None:
        self._operations = operations
        self._waits = waits
        self._customers = customers
        self._invitations = invitations
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
        self, caller: Subject, filter_: Filter | None, limit: int, after: Cursor | None
    ) -> Part[Operation]:
        """Returns at most `limit` operations of all the caller's resellers, newest first.

        filter_: a condition on what `Operation.value_of` returns.
        """
        resellers = caller.resellers(Permission.READ)
        return await self._operations.list_operations(resellers, filter_, limit, after)

    async def with_subject(self, operation: Operation) -> OperationWithSubject:
        """Returns an operation that the caller may see, with its subject."""
        subject: Customer | Invitation | None = None
        if operation.kind is OperationKind.RESEND:
            found = await self._invitations.get_customer_invitations([operation.customer_id])
            invitation = found.get(operation.customer_id)
            subject = invitation and as_of(invitation, self._clock())
        elif operation.customer_id and operation.done and not operation.failure:
            subject = await self._customers.get_customer(operation.customer_id)
        return OperationWithSubject(operation, subject)

    async def with_subjects(
        self, page: Sequence[Listed[Operation]]
    ) -> Sequence[Listed[OperationWithSubject]]:
        """Returns operations of a page with their subjects.

        Fewer where the texts of their customers are more than MAX_LIST_CHARACTERS characters.
        """
        found: list[Listed[OperationWithSubject]] = []
        characters = 0
        for start in range(0, len(page), _AT_ONCE):
            rows = page[start : start + _AT_ONCE]
            subjects = await self._subjects([row.record for row in rows])
            for row in rows:
                subject = subjects.get((row.record.kind, row.record.customer_id))
                found.append(Listed(OperationWithSubject(row.record, subject), row.cursor))
                if isinstance(subject, Customer):
                    characters += sum(map(len, (subject.name, *subject.person.values())))
            if characters > MAX_LIST_CHARACTERS:
                break
        return found

    async def _subjects(
        self, operations: Sequence[Operation]
    ) -> dict[tuple[OperationKind, str], Customer | Invitation]:
        """Returns subjects by the operations' kinds and customers' IDs."""
        resends = {each.customer_id for each in operations if each.kind is OperationKind.RESEND}
        others = {
            (each.kind, each.customer_id)
            for each in operations
            if each.customer_id
            and each.kind is not OperationKind.RESEND
            and each.done
            and not each.failure
        }
        now = self._clock()
        invitations = await self._invitations.get_customer_invitations(list(resends))
        customers = await self._customers.get_customers(list({id_ for _, id_ in others}))
        subjects: dict[tuple[OperationKind, str], Customer | Invitation] = {
            (OperationKind.RESEND, id_): as_of(each, now) for id_, each in invitations.items()
        }
        return subjects | {(kind, id_): customers[id_] for kind, id_ in others if id_ in customers}

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
