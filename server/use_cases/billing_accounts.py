"""Reading billing accounts."""

from collections.abc import Sequence

from server.domain.access import Permission, Subject
from server.domain.billing_accounts import BillingAccount
from server.storage.interface import BillingAccountStorage, Cursor, Listed


class BillingAccounts:
    """The use cases. Each raises PERMISSION_MISSING."""

    def __init__(self, accounts: BillingAccountStorage) -> None:
        self._accounts = accounts

    async def get(self, caller: Subject, account_id: str) -> BillingAccount | None:
        """Returns a billing account that the caller may read."""
        account = await self._accounts.get_billing_account(account_id)
        if account is None:
            # Who may read nobody's accounts does not learn which there are.
            caller.require_any(Permission.READ)
            return None
        caller.require(Permission.READ, account.reseller_id)
        return account

    async def page(
        self, caller: Subject, limit: int, after: Cursor | None
    ) -> Sequence[Listed[BillingAccount]]:
        """Returns at most `limit` accounts of all the caller's resellers, past the cursor."""
        resellers = caller.resellers(Permission.READ)
        return await self._accounts.list_billing_accounts(resellers, limit, after)
