"""Names of resources: `resellers/{reseller}/invitations/{invitation}`."""

import re

from server.domain.errors import invalid_field

INVITATIONS = "invitations"
CUSTOMERS = "customers"
EVENTS = "events"
WEBHOOKS = "webhooks"
SUPPRESSIONS = "suppressions"

_RESELLER = re.compile(r"resellers/(?P<reseller>[^/]+)")
_CHILD = re.compile(_RESELLER.pattern + "/(?P<collection>[a-z]+)/(?P<id>[^/]+)")


def reseller_name(reseller_id: str) -> str:
    """Returns the name of a reseller."""
    return f"resellers/{reseller_id}"


def name(reseller_id: str, collection: str, id_: str) -> str:
    """Returns the name of what belongs to a reseller."""
    return f"{reseller_name(reseller_id)}/{collection}/{id_}"


def bare_id(written: str, reseller_id: str, collection: str) -> str:
    """Returns the ID of what is given by its ID or its name; anything else as it is."""
    return written.removeprefix(name(reseller_id, collection, "")) or written


def parse_parent(parent: str) -> str:
    """Returns the reseller's ID in the field `parent`; raises FIELDS_INVALID."""
    found = _RESELLER.fullmatch(parent)
    if not found:
        raise invalid_field("parent", "Must be resellers/{reseller}.")
    return found["reseller"]


def parse_name(text: str, collection: str, field: str = "name") -> tuple[str, str]:
    """Returns the reseller's ID and that of the thing in a field; raises FIELDS_INVALID."""
    found = _CHILD.fullmatch(text)
    if not found or found["collection"] != collection:
        thing = collection.removesuffix("s")
        raise invalid_field(field, f"Must be resellers/{{reseller}}/{collection}/{{{thing}}}.")
    return found["reseller"], found["id"]
