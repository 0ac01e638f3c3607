"""Reading billing accounts, and who may do what for them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from server.domain import ids
from server.domain.access import Permission, Subject
from server.domain.billing_accounts import BillingAccount
from server.domain.errors import invalid_field
from server.domain.operations import Operation
from server.domain.role_changes import AccessBinding, RoleDelta, access_update
from server.storage.interface import (
    AccessStorage,
    BillingAccountStorage,
    Cursor,
    IdempotencyKey,
    Listed,
)


class BillingAccounts:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(
        self,
        accounts: BillingAccountStorage,
        access: AccessStorage,
        clock: Callable[[], datetime],
    ) -> None:
        self._accounts = accounts
        self._access = access
        self._clock = clock

    async def get(
        self, caller: Subject, account_id: str, permission: Permission = Permission.READ
    ) -> BillingAccount | None:
        """Returns a billing account that the caller has the permission for."""
        account = await self._accounts.get_billing_account(account_id)
        if account is None:
            if not ids.has_form(account_id):
                # An ID that an operator may have chosen for a reseller can be guessed.
                caller.require(permission, account_id)
            # Who may read nobody's accounts does not learn which there are.
            caller.require_any(permission)
            return None
        caller.require(permission, account.reseller_id)
        return account

    async def page(
        self, caller: Subject, limit: int, after: Cursor | None
    ) -> Sequence[Listed[BillingAccount]]:
        """Returns at most `limit` accounts of all the caller's resellers, past the cursor."""
        resellers = caller.resellers(Permission.READ)
        return await self._accounts.list_billing_accounts(resellers, limit, after)

    async def bindings(
        self, caller: Subject, account_id: str, limit: int, after: Cursor | None
    ) -> Sequence[Listed[AccessBinding]] | None:
        """Returns at most `limit` of an account's access bindings, newest first, past the cursor.

        None: no such account. A customer's account has none of its own.
        """
        account = await self.get(caller, account_id)
        if account is None:
            return None
        if account.id != account.reseller_id:
            return []
        return await self._access.list_bindings(account.reseller_id, limit, after)

    async def update_bindings(
        self,
        caller: Subject,
        account_id: str,
        deltas: Sequence[RoleDelta],
        request_id: str,
        key: IdempotencyKey | None,
    ) -> Operation | None:
        """Gives and takes roles for a reseller's own account, all or none; None: no such account.

        Raises FIELDS_INVALID for a customer's account, and what `AccessStorage.update_bindings` does.
        """
        account = await self.get(caller, account_id, Permission.MANAGE_ACCESS)
        if account is None:
            return None
        if account.id != account.reseller_id:
            raise invalid_field(
                "resource_id",
                "Roles are given for a reseller's own billing account, and hold for those of its "
                f"customers: give them for {account.reseller_id}.",
            )
        return await self._access.update_bindings(
            access_update(account.reseller_id, caller.id, self._clock()),
            *(deltas, caller.actor(request_id), key),
        )
