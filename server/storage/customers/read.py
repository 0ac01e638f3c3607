"""Reading customers: by ID, and lists of a reseller's, newest first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select

from server.domain.customers import Customer
from server.storage import resellers
from server.storage.customer_rows import CUSTOMER_PART, CustomerPart, customer
from server.storage.interface.paging import MAX_LIST_CHARACTERS, Cursor, Listed
from server.storage.schema.codes import (
    INVITATION_STATE_CODES,
    NO_INVITATION,
)
from server.storage.schema.tables import (
    customers,
)
from server.storage.sql.paging import listed, newest_first
from server.storage.sql.statements import IDS, Query, Transaction

_BY_ID = Query(CustomerPart, select(*CUSTOMER_PART).where(customers.c.id.in_(IDS)))


def get_customers(transaction: Transaction, wanted: Sequence[str]) -> list[Customer | None]:
    """Returns customers; see CustomerStorage.get_customer."""
    rows = transaction.fetch(_BY_ID, list(dict.fromkeys(wanted)))
    found: dict[str, Customer] = {row.id: customer(transaction, row) for row in rows}
    return [found.get(id_) for id_ in wanted]


def get_many_customers(
    transaction: Transaction, batch: Sequence[Sequence[str]]
) -> list[dict[str, Customer]]:
    """Returns customers by ID; see CustomerStorage.get_customers."""
    return [
        {row.id: customer(transaction, row) for row in transaction.fetch(_BY_ID, wanted)}
        for wanted in batch
    ]


class CustomerPage(NamedTuple):
    """Which customers to list."""

    reseller_id: str
    limit: int
    after: Cursor | None
    show_deleted: bool = False


def _page(*, past_first: bool, show_deleted: bool) -> Query[CustomerPart]:
    """Reads a page in three steps: its rows, how much text stands before each, those that fit.

    The rows are of each of their invitations' states, merged.
    """
    text = func.length(customers.c.name) + func.length(customers.c.person)

    def part(state: int) -> Select[Any]:
        rows = select(*CUSTOMER_PART, text.label("text")).where(
            customers.c.reseller == bindparam("reseller"), customers.c.invitation == state
        )
        if not show_deleted:
            rows = rows.where(customers.c.deleted_at.is_(None))
        return rows.where(customers.c.n < bindparam("after")) if past_first else rows

    states = (NO_INVITATION, *INVITATION_STATE_CODES.values())
    page = newest_first(list(map(part, states))).subquery("page")
    before = func.sum(page.c.text).over(order_by=page.c.n.desc()) - page.c.text
    measured = select(page, before.label("before")).subquery("measured")
    rows = (
        select(*(measured.c[name] for name in CustomerPart._fields))
        .where(measured.c.before < MAX_LIST_CHARACTERS)
        .order_by(measured.c.n.desc())
    )
    return Query(CustomerPart, rows, "reseller", "limit", "after")


_PAGES = {
    (past_first, show_deleted): _page(past_first=past_first, show_deleted=show_deleted)
    for past_first in (False, True)
    for show_deleted in (False, True)
}


def list_customers(
    transaction: Transaction, pages: Sequence[CustomerPage]
) -> list[list[Listed[Customer]]]:
    """Returns a page for each; see CustomerStorage.list_customers."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: CustomerPage) -> list[Listed[Customer]]:
    reseller = resellers.reseller_number(transaction, page.reseller_id)
    if reseller is None:
        return []
    rows = transaction.fetch(
        _PAGES[page.after is not None, page.show_deleted],
        reseller=reseller,
        limit=page.limit,
        after=page.after,
    )
    return listed(rows[: page.limit], lambda row: customer(transaction, row))
