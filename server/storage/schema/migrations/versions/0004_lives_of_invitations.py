"""How invitations end and are sent again; the addresses of customers; keys that stand for either."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PIECE = 1000


def upgrade() -> None:
    op.add_column("customers", sa.Column("email", sa.Text))
    op.execute(
        "UPDATE customers SET email = invitations.email FROM invitations "
        "WHERE invitations.customer_id = customers.id"
    )
    op.add_column("invitations", sa.Column("ended_at", sa.BigInteger))
    op.add_column("invitations", _text("latest_operation_id"))
    op.add_column("invitations", sa.Column("resent_at", sa.BigInteger))
    op.add_column("invitations", _text("email_key"))
    op.execute("UPDATE invitations SET latest_operation_id = operation_id")
    _fold_addresses()
    # What lapsed before had lost this already.
    op.execute(
        "UPDATE invitations SET state = 'expired', ended_at = expires_at WHERE open_key IS NULL"
    )
    op.execute(
        "UPDATE customers SET state = 'inactive' FROM invitations "
        "WHERE invitations.customer_id = customers.id AND invitations.state = 'expired'"
    )
    is_open = sa.column("open_key").is_not(None)
    op.create_index(
        "invitations_lapsing",
        "invitations",
        ["expires_at"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    for name, column in (("invitations_by_state", "state"), ("invitations_by_email", "email_key")):
        op.create_index(name, "invitations", ["reseller_id", column, "created_at", "id"])
    op.add_column("link_tokens", _text("operation_id"))
    op.execute(
        "UPDATE link_tokens SET operation_id = invitations.operation_id FROM invitations "
        "WHERE invitations.id = link_tokens.invitation_id"
    )
    op.alter_column("idempotency_keys", "operation_id", new_column_name="target_id")


def _text(name: str) -> sa.Column[str]:
    # A column that may not be NULL can be added with a default alone.
    return sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))


def _fold_addresses() -> None:
    """Only Python knows how all scripts look without case."""
    table = sa.table("invitations", *map(sa.column, ("id", "email", "email_key")))
    connection = op.get_bind()
    fold = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("of"))
        .values(email_key=sa.bindparam("folded"))
    )
    after = ""
    while True:
        page = sa.select(table.c.id, table.c.email).where(table.c.id > after)
        rows = connection.execute(page.order_by(table.c.id).limit(_PIECE)).all()
        if not rows:
            return
        connection.execute(fold, [{"of": row.id, "folded": row.email.casefold()} for row in rows])
        after = rows[-1].id
