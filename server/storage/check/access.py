"""Who may do what, and the audit of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, and_, select, true

from server.domain.origins import parse_origin
from server.storage.check.checks import Check, RowCheck, missing
from server.storage.reseller_details import (
    details_json,
    origins_json,
    read_details,
    read_origins,
)
from server.storage.schema.access_tables import (
    account_keys,
    audit_records,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import DetailsJson, OriginsJson, ResellerId, resellers
from server.storage.sql.statements import Query, columns

_ROLES = Check(
    role_bindings.outerjoin(resellers, resellers.c.id == role_bindings.c.reseller_id),
    role_bindings.c.subject_id,
    {
        "a role is for a reseller that is known": missing(resellers),
    },
)


class _WithDetails(NamedTuple):
    """A reseller's columns of JSON."""

    id: ResellerId
    contact_details: DetailsJson | None
    return_origins: OriginsJson | None


_READABLE = "a reseller's contact details and origins can be read"


def _find_unreadable(rows: Iterable[_WithDetails]) -> Iterator[tuple[str, str]]:
    for row in rows:
        try:
            details, origins = read_details(row.contact_details), read_origins(row.return_origins)
            wanted = details_json(details), origins_json(list(map(parse_origin, origins)))
        except (ValueError, TypeError):
            wanted = None
        if wanted != (row.contact_details, row.return_origins):
            yield _READABLE, row.id


_DETAILS = RowCheck(
    Query(_WithDetails, select(*columns(resellers, _WithDetails))), (_READABLE,), _find_unreadable
)

_KEYS = Check(
    account_keys.outerjoin(
        service_accounts, service_accounts.c.id == account_keys.c.service_account_id
    ),
    account_keys.c.id,
    {"a key is a service account's": missing(service_accounts)},
)


def _audited(
    table: Table, action: str, text: str, concerned: ColumnElement[bool] | None = None
) -> Check:
    records = and_(audit_records.c.target == table.c.id, audit_records.c.action == action)
    condition = true() if concerned is None else concerned
    return Check(
        table.outerjoin(audit_records, records),
        table.c.id,
        {f"the audit tells of {text}": and_(missing(audit_records), condition)},
    )


# Resellers and roles may be older than the audit.
CHECKS = (
    _ROLES,
    _KEYS,
    _audited(service_accounts, "service-accounts.add", "each service account"),
    _audited(account_keys, "keys.add", "each key"),
    _audited(
        resellers,
        "resellers.remove",
        "each reseller's removal",
        resellers.c.removed_at.is_not(None),
    ),
    _audited(
        resellers,
        "resellers.suspend",
        "each reseller's suspension",
        resellers.c.suspended_at.is_not(None),
    ),
)
ROW_CHECKS = (_DETAILS,)
