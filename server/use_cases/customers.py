"""Inviting, creating, reading, activating and suspending customers."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from server.domain.access import Permission, Subject
from server.domain.customer_changes import CustomerChanges, check_changes
from server.domain.customers import (
    NO_LABELS,
    TARGETS,
    Customer,
    CustomerList,
    NewCustomer,
    create_reseller_served,
    finished_operation,
)
from server.domain.invitation_options import NO_OPTIONS, InvitationOptions
from server.domain.invitations import NewInvitation, invite
from server.domain.operations import Operation, OperationKind
from server.storage.interface import (
    Cursor,
    CustomerStorage,
    IdempotencyKey,
    InvitationStorage,
    Part,
)


class Customers:
    """The use cases. Operations are returned once durable. Each raises PERMISSION_MISSING."""

    def __init__(
        self,
        customers: CustomerStorage,
        invitations: InvitationStorage,
        clock: Callable[[], datetime],
        lifetime: timedelta,
    ) -> None:
        """`lifetime` is how long an invitation can be accepted."""
        self._customers = customers
        self._invitations = invitations
        self._clock = clock
        self._lifetime = lifetime

    async def invite(
        self,
        caller: Subject,
        *,
        reseller_id: str,
        name: str,
        email: str,
        person: dict[str, str],
        request_id: str,
        key: IdempotencyKey | None,
        options: InvitationOptions = NO_OPTIONS,
        external_id: str | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        dry_run: bool = False,
    ) -> NewInvitation | Operation:
        """Records an invitation and the e-mail to send. `email` is in normal form.

        Returns the operation; with `dry_run` what would be recorded, and nothing is.
        Raises FIELDS_INVALID for labels, INVITATION_OPEN, EXTERNAL_ID_TAKEN, IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        new = invite(
            reseller_id=reseller_id,
            name=name,
            email=email,
            person=person,
            actor=caller.actor(request_id),
            now=self._clock(),
            lifetime=self._lifetime,
            options=options,
            external_id=external_id,
            labels=labels,
        )
        if labels:
            check_changes(CustomerChanges(labels=labels))
        if dry_run:
            await self._invitations.create_invitation(new, None, dry_run=True)
            return new
        return await self._invitations.create_invitation(new, key)

    async def create_reseller_served(
        self,
        caller: Subject,
        *,
        reseller_id: str,
        name: str,
        person: dict[str, str],
        request_id: str,
        key: IdempotencyKey | None,
        external_id: str | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        dry_run: bool = False,
    ) -> NewCustomer | Operation:
        """Creates a customer that is active at once; returns as `invite` does.

        Raises FIELDS_INVALID for labels, EXTERNAL_ID_TAKEN, IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        new = create_reseller_served(
            reseller_id=reseller_id,
            name=name,
            person=person,
            actor=caller.actor(request_id),
            now=self._clock(),
            external_id=external_id,
            labels=labels,
        )
        if labels:
            check_changes(CustomerChanges(labels=labels))
        if dry_run:
            await self._customers.create_customer(new, None, dry_run=True)
            return new
        return await self._customers.create_customer(new, key)

    async def update(
        self,
        caller: Subject,
        reseller_id: str,
        customer_id: str,
        changes: CustomerChanges,
        etag: str,
        request_id: str,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Customer | None:
        """Changes a customer; with `dry_run` returns what it would be.

        Raises FIELDS_INVALID, ETAG_STALE, CUSTOMER_STATE, CUSTOMER_ERASED, EXTERNAL_ID_TAKEN,
        INVITATION_OPEN, IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        check_changes(changes)
        return await self._customers.update_customer(
            *(reseller_id, customer_id, changes, etag),
            *(self._clock(), caller.actor(request_id), None if dry_run else key),
            dry_run=dry_run,
        )

    async def change_state(
        self,
        caller: Subject,
        kind: OperationKind,
        customer_id: str,
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Operation | None:
        """Activates or suspends a customer. Raises CUSTOMER_STATE, IDEMPOTENCY_KEY_REUSED."""
        customer = await self._customers.get_customer(customer_id)
        if customer is None or customer.deleted_at:
            # Who may change nobody's customers does not learn which there are.
            caller.resellers(Permission.WRITE)
            return None
        caller.require(Permission.WRITE, customer.reseller_id)
        return await self._customers.change_customer_state(
            finished_operation(kind, customer, caller.id, self._clock()),
            caller.actor(request_id),
            key,
        )

    async def set_state(
        self,
        caller: Subject,
        kind: OperationKind,
        reseller_id: str,
        customer_id: str,
        etag: str,
        request_id: str,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Customer | None:
        """Activates or suspends a customer, and returns it; with `dry_run` what it would be.

        Raises CUSTOMER_STATE, ETAG_STALE, IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        customer = await self._customers.get_customer(customer_id)
        if customer is None or customer.reseller_id != reseller_id:
            return None
        changed = await self._customers.change_customer_state(
            finished_operation(kind, customer, caller.id, self._clock()),
            caller.actor(request_id),
            None if dry_run else key,
            etag,
            dry_run=dry_run,
        )
        if dry_run:
            return customer._replace(state=TARGETS[kind])
        return changed and await self._customers.get_customer(customer_id)

    async def delete(
        self,
        caller: Subject,
        reseller_id: str,
        customer_id: str,
        etag: str,
        request_id: str,
        key: IdempotencyKey | None,
        *,
        allow_missing: bool = False,
        dry_run: bool = False,
    ) -> Customer | None:
        """Deletes a customer, which can be taken back for a while.

        Raises ETAG_STALE, MAIL_UNDER_WAY, IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        return await self._customers.delete_customer(
            *(reseller_id, customer_id, etag),
            *(self._clock(), caller.actor(request_id), None if dry_run else key),
            allow_missing=allow_missing,
            dry_run=dry_run,
        )

    async def undelete(
        self,
        caller: Subject,
        reseller_id: str,
        customer_id: str,
        etag: str,
        request_id: str,
        key: IdempotencyKey | None,
        *,
        dry_run: bool = False,
    ) -> Customer | None:
        """Takes a deletion back.

        Raises CUSTOMER_NOT_DELETED, ETAG_STALE, EXTERNAL_ID_TAKEN, ADDRESS_TAKEN,
        IDEMPOTENCY_KEY_REUSED.
        """
        caller.require(Permission.WRITE, reseller_id)
        return await self._customers.undelete_customer(
            *(reseller_id, customer_id, etag),
            *(self._clock(), caller.actor(request_id), None if dry_run else key),
            dry_run=dry_run,
        )

    async def get(self, caller: Subject, reseller_id: str, customer_id: str) -> Customer | None:
        """Returns a customer of the reseller."""
        caller.require(Permission.READ, reseller_id)
        customer = await self._customers.get_customer(customer_id)
        return customer if customer and customer.reseller_id == reseller_id else None

    async def page(
        self, caller: Subject, wanted: CustomerList, limit: int, after: Cursor | None
    ) -> Part[Customer]:
        """Returns at most `limit` customers past the cursor; see CustomerStorage.list_customers."""
        caller.require(Permission.READ, wanted.reseller_id)
        return await self._customers.list_customers(wanted, limit, after)
