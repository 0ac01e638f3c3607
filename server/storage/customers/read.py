"""Reading customers by ID."""

from collections.abc import Sequence

from sqlalchemy import select

from server.domain.customers import Customer
from server.storage.customer_rows import CUSTOMER_PART, CustomerPart, customer
from server.storage.schema.tables import customers
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
