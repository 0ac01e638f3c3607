"""Billing accounts: those of resellers and customers, read from their rows."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from server.domain import ids
from server.domain.access import ResellerState
from server.domain.billing_accounts import BillingAccount
from server.domain.customers import CustomerState
from server.storage.customer_rows import IS_LIVING
from server.storage.interface.paging import Cursor, Listed
from server.storage.resellers import reseller_id, reseller_number, reseller_state
from server.storage.schema.codes import (
    CUSTOMER_STATE_CODES,
    INVITATION_STATE_CODES,
    NO_INVITATION,
    CustomerStateCode,
)
from server.storage.schema.tables import (
    AccountId,
    CustomerId,
    CustomerNumber,
    DisplayName,
    ResellerId,
    ResellerNumber,
    customers,
    resellers,
)
from server.storage.sql.batches import Batcher
from server.storage.sql.paging import Run, merged, rounded
from server.storage.sql.statements import IDS, Query, Transaction, columns
from server.storage.sql.times import Micros, from_micros

# Added to the cursors of the resellers' own accounts, which stand before all others.
_OWN = 1 << 62
# Of a name in a list: older rows may have longer ones.
_LONGEST_NAME = 1024
_ACTIVE = CUSTOMER_STATE_CODES[CustomerState.ACTIVE]


class _Reseller(NamedTuple):
    n: ResellerNumber
    id: ResellerId
    name: DisplayName
    created_at: Micros
    suspended_at: Micros | None
    removed_at: Micros | None


class _Customer(NamedTuple):
    n: CustomerNumber
    id: CustomerId
    reseller: ResellerNumber
    state: CustomerStateCode
    created_at: Micros
    billing_account_id: AccountId | None
    deleted_at: Micros | None
    name: DisplayName


_RESELLERS = Query(_Reseller, select(*columns(resellers, _Reseller)).where(resellers.c.id.in_(IDS)))
# An index finds each: the account's ID ends like the customer's, or is in a column of its own.
_BY_ENDING = Query(
    _Customer,
    select(*columns(customers, _Customer)).where(
        customers.c.id.in_(IDS), customers.c.billing_account_id.is_(None)
    ),
)
_BY_OWN_ID = Query(
    _Customer,
    select(*columns(customers, _Customer)).where(
        customers.c.billing_account_id.in_(IDS), customers.c.billing_account_id.is_not(None)
    ),
)


@cache
def _page(*, most: int, is_sqlite: bool, past_first: bool) -> Query[_Customer]:
    """Makes what reads one reseller's customers in the order of an index."""
    rows = select(
        *columns(customers, _Customer)[:-1],
        func.substr(customers.c.name, 1, _LONGEST_NAME).label("name"),
    )
    runs = [
        Run(
            {customers.c.reseller: bindparam("reseller"), customers.c.invitation: state},
            [IS_LIVING],
        )
        for state in (NO_INVITATION, *INVITATION_STATE_CODES.values())
    ]
    page = merged(
        *(rows, customers.c.n, runs), most=most, is_sqlite=is_sqlite, past_first=past_first
    )
    return Query(_Customer, page, "reseller", "limit", "after")


def get_accounts(transaction: Transaction, wanted: Sequence[str]) -> list[BillingAccount | None]:
    """Returns billing accounts; see BillingAccountStorage.get_billing_account."""
    unique = list(dict.fromkeys(wanted))
    likely = [ids.CUSTOMER + id_[3:] for id_ in unique if id_.startswith(ids.BILLING_ACCOUNT)]
    rows = transaction.fetch(_BY_ENDING, likely) if likely else []
    rows += transaction.fetch(_BY_OWN_ID, unique)
    found = {account.id: account for account in (_customers(transaction, row) for row in rows)}
    found |= {row.id: _own(row) for row in transaction.fetch(_RESELLERS, unique)}
    return [found.get(id_) for id_ in wanted]


class AccountPage(NamedTuple):
    """Which accounts to list."""

    reseller_ids: Sequence[str]
    limit: int
    after: Cursor | None


def list_accounts(
    transaction: Transaction, pages: Sequence[AccountPage]
) -> list[list[Listed[BillingAccount]]]:
    """Returns a page for each; see BillingAccountStorage.list_billing_accounts."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: AccountPage) -> list[Listed[BillingAccount]]:
    found: list[Listed[BillingAccount]] = []
    if page.reseller_ids and (page.after is None or page.after > _OWN):
        own = transaction.fetch(_RESELLERS, page.reseller_ids)
        found = [Listed(_own(row), Cursor(_OWN + row.n)) for row in own]
        found = [each for each in found if page.after is None or each.cursor < page.after]
        found.sort(key=lambda each: each.cursor, reverse=True)
    left = page.limit - len(found)
    if left > 0:
        found += _customers_page(transaction, page, left)
    return found[: page.limit]


def _customers_page(
    transaction: Transaction, page: AccountPage, limit: int
) -> list[Listed[BillingAccount]]:
    after = page.after if page.after is not None and page.after <= _OWN else None
    rows: list[_Customer] = []
    statement = _page(
        most=rounded(limit), is_sqlite=transaction.is_sqlite, past_first=after is not None
    )
    # One reseller at a time: only then does the index give the order.
    for id_ in page.reseller_ids:
        number = reseller_number(transaction, id_)
        if number is not None:
            rows += transaction.fetch(statement, reseller=number, limit=limit, after=after)
            rows = sorted(rows, key=lambda row: row.n, reverse=True)[:limit]
    return [Listed(_customers(transaction, row), Cursor(row.n)) for row in rows]


def _own(row: _Reseller) -> BillingAccount:
    state = reseller_state(row.suspended_at, row.removed_at)
    created_at = from_micros(row.created_at)
    return BillingAccount(row.id, row.id, row.name, created_at, state is ResellerState.ACTIVE)


def _customers(transaction: Transaction, row: _Customer) -> BillingAccount:
    return BillingAccount(
        row.billing_account_id or ids.BILLING_ACCOUNT + row.id[3:],
        reseller_id(transaction, row.reseller),
        row.name,
        from_micros(row.created_at),
        row.state == _ACTIVE and row.deleted_at is None,
    )


class SqlBillingAccounts:
    """Implements `interface.BillingAccountStorage`."""

    def __init__(self, reads: Batcher) -> None:
        self._reads = reads

    async def get_billing_account(self, account_id: str) -> BillingAccount | None:
        return await self._reads.submit(get_accounts, account_id)

    async def list_billing_accounts(
        self, reseller_ids: Sequence[str], limit: int, after: Cursor | None
    ) -> list[Listed[BillingAccount]]:
        return await self._reads.submit(list_accounts, AccountPage(reseller_ids, limit, after))
