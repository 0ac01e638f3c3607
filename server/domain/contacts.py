"""Who a reseller is to those whom it invites, beside its name."""

from typing import NamedTuple


class ContactDetails(NamedTuple):
    """Whom to ask, where they are and how to call them; "" for what is not told."""

    name: str = ""
    address: str = ""
    phone: str = ""


NO_DETAILS = ContactDetails()
