"""Addresses that are not all ASCII get the keys of `server.domain.addresses`: ß is not ss."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from server.domain.addresses import address_key

revision = "0006"
down_revision = "0005"

_PIECE = 1000

_invitations = sa.table(
    "invitations",
    *map(sa.column, ("id", "reseller_id", "customer_id", "email", "email_key", "open_key")),
)
_customers = sa.table("customers", *map(sa.column, ("id", "person")))


def upgrade() -> None:
    connection = op.get_bind()
    email = _invitations.c.email
    size = (
        sa.func.octet_length(email)
        if connection.dialect.name == "postgresql"
        else sa.func.length(sa.cast(email, sa.LargeBinary))
    )
    page = (
        sa.select(_invitations, _customers.c.person)
        .join_from(
            _invitations, _customers, _customers.c.id == _invitations.c.customer_id, isouter=True
        )
        .where(
            _invitations.c.id > sa.bindparam("after"),
            # All others have their keys already.
            size != sa.func.length(email),
        )
        .order_by(_invitations.c.id)
        .limit(_PIECE)
    )
    change = (
        sa.update(_invitations)
        .where(_invitations.c.id == sa.bindparam("of"))
        .values(email_key=sa.bindparam("email_key"), open_key=sa.bindparam("open_key"))
    )
    after = ""
    while rows := connection.execute(page, {"after": after}).all():
        connection.execute(change, [_keys(row) for row in rows])
        after = rows[-1].id


def _keys(row: sa.Row[tuple[object, ...]]) -> dict[str, object]:
    is_open = row.open_key is not None
    tin = json.loads(row.person).get("tin", "") if row.person else ""
    return {
        "of": row.id,
        "email_key": address_key(row.email),
        # The new keys are finer than the old ones, so none gets in another's way.
        "open_key": _open_key(row.reseller_id, row.email, tin) if is_open else None,
    }


def _open_key(reseller_id: str, email: str, tin: str) -> bytes:
    """As it was at this version."""
    text = "\0".join((reseller_id, address_key(email), tin.strip()))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
