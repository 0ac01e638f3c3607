"""Billing accounts, which resellers and customers have."""

from collections.abc import Sequence
from typing import Protocol

from server.domain.billing_accounts import BillingAccount
from server.storage.interface.paging import Cursor, Listed


class BillingAccountStorage(Protocol):
    """Reads billing accounts."""

    async def get_billing_account(self, account_id: str) -> BillingAccount | None:
        """Returns a reseller's own account or a customer's, or None."""
        ...

    async def list_billing_accounts(
        self, reseller_ids: Sequence[str], limit: int, after: Cursor | None
    ) -> list[Listed[BillingAccount]]:
        """Returns at most `limit` accounts of the resellers and their customers, past the cursor.

        First the resellers' own, then the customers', each newest first.
        """
        ...
