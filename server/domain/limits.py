"""How much one reseller may do, so that it disturbs neither other resellers nor people's mailboxes."""

from datetime import timedelta
from typing import NamedTuple

from server.domain.errors import BillingError, Reason

# From this limit of e-mails an hour on, as many again are accepted for the hour after, so that
# importing many customers at once is not refused. Smaller limits mean what they say.
SPREAD_FROM = 1000
# How much later those go out.
SPREAD_BY = timedelta(hours=1)


class Limits(NamedTuple):
    """The settings of the same names. 0 sets no limit."""

    mail_per_address_h: int = 0
    mail_per_reseller_h: int = 0
    mail_per_reseller_d: int = 0
    customers_per_reseller: int = 0


_WHOSE = {
    "mail_per_address_h": "an hour to one address, from all resellers together,",
    "mail_per_reseller_h": "an hour from one reseller",
    "mail_per_reseller_d": "a day from one reseller",
}


def mail_limit_reached(name: str, limit: int, retry_after_s: float) -> BillingError:
    """Returns the refusal of an e-mail beyond one of the limits, by its name."""
    return BillingError(
        Reason.MAIL_LIMIT_REACHED,
        f"The limit of {limit} e-mails {_WHOSE[name]} is reached; try again later.",
        metadata={"limit": name.upper(), "most": str(limit)},
        retry_after_s=retry_after_s,
    )


def customer_limit_reached(limit: int) -> BillingError:
    """Returns the refusal of a customer beyond the limit; waiting does not help."""
    return BillingError(
        Reason.CUSTOMER_LIMIT_REACHED,
        f"The limit of {limit} customers of one reseller is reached; ask those who run this service.",
        metadata={"limit": "CUSTOMERS_PER_RESELLER", "most": str(limit)},
    )
