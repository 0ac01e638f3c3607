"""Customers can be deleted; they stay for a while, and can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("customers", sa.Column("deleted_at", sa.BigInteger))
    op.drop_index("customers_external_id", "customers")
    for name, table, columns, condition, unique in (
        (
            *("customers_external_id", "customers", ["reseller", "external_id"]),
            *("external_id IS NOT NULL AND deleted_at IS NULL", True),
        ),
        ("customers_deleted", "customers", ["deleted_at"], "deleted_at IS NOT NULL", False),
        ("operations_customer", "operations", ["customer"], "id IS NOT NULL", False),
    ):
        op.create_index(
            *(name, table, columns),
            unique=unique,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
