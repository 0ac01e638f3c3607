"""Customers: created for a reseller, activated and suspended, read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from server.domain.access import Actor
from server.domain.customer_changes import CustomerChanges
from server.domain.customers import Customer, CustomerList, NewCustomer
from server.domain.operations import Operation
from server.storage.interface.keys import IdempotencyKey
from server.storage.interface.paging import Cursor, Part


class CustomerStorage(Protocol):
    """Keeps the customers."""

    async def create_customer(
        self, new: NewCustomer, key: IdempotencyKey | None, *, dry_run: bool = False
    ) -> Operation:
        """Records customer, operation and key; with `dry_run` only finds whether it could.

        Returns the operation: the new one or, for a key seen before, the one that it stands for.
        Raises IDEMPOTENCY_KEY_REUSED, CUSTOMER_LIMIT_REACHED, EXTERNAL_ID_TAKEN.
        """
        ...

    async def change_customer_state(
        self,
        operation: Operation,
        actor: Actor,
        key: IdempotencyKey | None,
        etag: str = "",
        *,
        dry_run: bool = False,
    ) -> Operation | None:
        """Does to the operation's customer what its kind says, at its time, and records it and key.

        Returns the operation as `create_customer` does. None: no such customer.
        Raises CUSTOMER_STATE by the state at that moment, ETAG_STALE, IDEMPOTENCY_KEY_REUSED.
        """
        ...

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
        """Changes a customer of the reseller; None: there is none.

        Returns it as it is then or, for a key seen before, as it is now. With `dry_run` returns what it
        would be, and changes nothing. Raises ETAG_STALE, CUSTOMER_STATE, CUSTOMER_ERASED,
        FIELDS_INVALID, EXTERNAL_ID_TAKEN, INVITATION_OPEN, IDEMPOTENCY_KEY_REUSED.
        """
        ...

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
        """Deletes a customer of the reseller, whose row stays until it is purged, and returns it.

        Its pending invitation is revoked. None: there is none, or it is deleted, which is no fault with
        `allow_missing`. Raises ETAG_STALE, MAIL_UNDER_WAY, IDEMPOTENCY_KEY_REUSED.
        """
        ...

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
        """Takes the deletion of a customer back; its invitation stays revoked. None: no such customer.

        Raises CUSTOMER_NOT_DELETED, ETAG_STALE, EXTERNAL_ID_TAKEN, ADDRESS_TAKEN,
        IDEMPOTENCY_KEY_REUSED.
        """
        ...

    async def get_customer(self, customer_id: str) -> Customer | None:
        """Returns the customer, or None."""
        ...

    async def get_customers(self, customer_ids: Sequence[str]) -> dict[str, Customer]:
        """Returns by their IDs those that are there."""
        ...

    async def list_customers(
        self, wanted: CustomerList, limit: int, after: Cursor | None
    ) -> Part[Customer]:
        """Returns at most `limit` customers past the cursor, in the order in which they were recorded.

        Fewer where their texts are more than MAX_LIST_CHARACTERS characters: then up to where these are
        full, and one at least. With a filter that no index serves a thousand are looked at, no more.
        """
        ...
