"""Billing accounts: a reseller's own, whose ID is the reseller's, and one for each customer."""

from datetime import datetime
from typing import NamedTuple


class BillingAccount(NamedTuple):
    """A billing account of a reseller or of one of its customers.

    `active`: the reseller is neither suspended nor removed; the customer is active.
    """

    id: str
    reseller_id: str
    name: str
    created_at: datetime
    active: bool
