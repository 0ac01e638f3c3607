"""A reseller's customers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CustomerState(StrEnum):
    """States as the published documentation names them."""

    ACCEPTANCE_REQUIRED = "acceptance_required"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Customer:
    """`person` holds the fields of the published CustomerPerson that were set, by proto name."""

    id: str
    reseller_id: str
    billing_account_id: str
    name: str
    person: dict[str, str]
    state: CustomerState
    created_at: datetime
    modified_at: datetime
