"""Addresses that nothing is sent to."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from server.domain.errors import BillingError, Reason
from server.domain.mail import DeliveryError


class SuppressionReason(StrEnum):
    """Why nothing is sent to an address."""

    # An e-mail came back for good; the reseller that it did so for may release the address.
    BOUNCED = "bounced"
    # Its owner asked for that, and nobody else releases it.
    REQUESTED = "requested"


class Suppression(NamedTuple):
    """An address that took no e-mail of a reseller's. `error` says why."""

    id: str
    reseller_id: str
    email: str
    created_at: datetime
    error: DeliveryError | None


_MESSAGES = {
    SuppressionReason.BOUNCED: (
        "Nothing is sent to this address, since an e-mail to it came back for good. Whom it came "
        "back for can release it, by DeleteSuppression; or hand a link over yourself."
    ),
    SuppressionReason.REQUESTED: (
        "Nothing is sent to this address: its owner asked for that, and can take it back by the link "
        "in any of our e-mails. You may hand a link over yourself."
    ),
}


def address_suppressed(reason: SuppressionReason) -> BillingError:
    """Returns the refusal to send to such an address."""
    return BillingError(
        Reason.ADDRESS_SUPPRESSED, _MESSAGES[reason], metadata={"suppression": reason.name}
    )
