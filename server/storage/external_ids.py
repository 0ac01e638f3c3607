"""What resellers call their customers: no two living customers of one have the same external ID."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, select

from server.domain.customer_changes import external_id_taken
from server.domain.customers import Customer
from server.storage.resellers import reseller_number
from server.storage.schema.tables import CustomerId, ExternalId, customers
from server.storage.sql.statements import IDS, Query, Transaction


class _Holder(NamedTuple):
    """Who has an external ID."""

    external_id: ExternalId
    id: CustomerId


_HOLDERS = Query(
    _Holder,
    select(customers.c.external_id, customers.c.id).where(
        customers.c.reseller == bindparam("reseller"),
        customers.c.external_id.in_(IDS),
        customers.c.deleted_at.is_(None),
    ),
    "reseller",
)


class ExternalIds:
    """Who has the external IDs that a batch asks for.

    What another transaction takes meanwhile breaks the table's unique index: then the batch runs
    again, and sees it.
    """

    def __init__(self, transaction: Transaction, asking: Iterable[Customer]) -> None:
        self._holders: dict[tuple[str, str], str] = {}
        wanted: dict[str, list[str]] = {}
        for customer in asking:
            if customer.external_id:
                wanted.setdefault(customer.reseller_id, []).append(customer.external_id)
        for reseller_id, external_ids in wanted.items():
            reseller = reseller_number(transaction, reseller_id)
            for row in transaction.fetch(_HOLDERS, external_ids, reseller=reseller):
                self._holders[reseller_id, row.external_id] = row.id

    def require_free(self, customer: Customer) -> None:
        """Raises EXTERNAL_ID_TAKEN if another customer has the external ID of this one."""
        if customer.external_id:
            holder = self._holders.get((customer.reseller_id, customer.external_id))
            if holder and holder != customer.id:
                raise external_id_taken(customer.reseller_id, customer.external_id, holder)

    def take(self, customer: Customer) -> None:
        """Notes that the customer has its external ID from now on."""
        if customer.external_id:
            self._holders[customer.reseller_id, customer.external_id] = customer.id
