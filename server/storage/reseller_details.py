"""What operators keep of a reseller for those whom it invites, from and to its row."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select

from server.domain.contacts import NO_DETAILS, ContactDetails
from server.domain.errors import invalid_field
from server.domain.origins import origin_of
from server.storage.schema.tables import (
    DetailsJson,
    OriginsJson,
    ResellerNumber,
    resellers,
)
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import IDS, Query, Transaction


class _Origins(NamedTuple):
    n: ResellerNumber
    return_origins: OriginsJson | None


_ORIGINS = Query(
    _Origins, select(resellers.c.n, resellers.c.return_origins).where(resellers.c.n.in_(IDS))
)


def details_json(details: ContactDetails) -> DetailsJson | None:
    """Returns details as the database keeps them: a JSON array, NULL for none."""
    return None if details == NO_DETAILS else DetailsJson(to_json(details))


def read_details(text: DetailsJson | None) -> ContactDetails:
    """Returns what `details_json` was given."""
    return ContactDetails(*from_json(text)) if text else NO_DETAILS


def origins_json(origins: Sequence[str]) -> OriginsJson | None:
    """Returns origins as the database keeps them: a JSON array, NULL for none."""
    return OriginsJson(to_json(sorted(origins))) if origins else None


def read_origins(text: OriginsJson | None) -> list[str]:
    """Returns what `origins_json` was given, sorted."""
    return list(from_json(text)) if text else []


def is_listed(uri: str, listed: OriginsJson | None) -> bool:
    """Tells whether a URI, if there is one, has an origin that is on the list in a row."""
    if not uri or not listed:
        return False
    try:
        return origin_of(uri) in read_origins(listed)
    except ValueError:
        return False


def require_listed(transaction: Transaction, reseller: ResellerNumber, uri: str) -> None:
    """Raises FIELDS_INVALID for a `return_uri` whose origin is not on the reseller's list."""
    ((_, listed),) = transaction.fetch(_ORIGINS, [reseller])
    origin, origins = origin_of(uri), read_origins(listed)
    if origin not in origins:
        known = f"it has {', '.join(origins)}" if origins else "it is empty"
        raise invalid_field(
            "return_uri",
            f"The origin {origin} is not on the list that is kept for you ({known}); ask those who "
            "run this service to add it.",
        )
