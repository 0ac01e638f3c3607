"""Resellers and their access, operations, customers, invitations, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "resellers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_table(
        "role_bindings",
        sa.Column("subject_id", sa.Text, primary_key=True),
        sa.Column("reseller_id", sa.Text, sa.ForeignKey("resellers.id"), primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reseller_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("billing_account_id", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("invitation_id", sa.Text),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("claimed", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
    )
    _partial_index("operations_due", "operations", ["due_at"], sa.column("due_at").is_not(None))
    _partial_index(
        "operations_by_age",
        "operations",
        ["reseller_id", "created_at", "id"],
        ~sa.column("deleted", sa.Boolean),
    )
    _partial_index(
        "operations_running_by_age",
        "operations",
        ["reseller_id", "created_at", "id"],
        ~sa.column("done", sa.Boolean),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("reseller_id", sa.Text, nullable=False),
        sa.Column("billing_account_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("reseller_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("open_key", sa.LargeBinary),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    _partial_index(
        "invitations_open",
        "invitations",
        ["open_key"],
        sa.column("open_key").is_not(None),
        unique=True,
    )
    op.create_table(
        "link_tokens",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("invitation_id", sa.Text, nullable=False, index=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def _partial_index(
    name: str,
    table: str,
    columns: list[str],
    condition: sa.ColumnElement[bool],
    *,
    unique: bool = False,
) -> None:
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
    )
