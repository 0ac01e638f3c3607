"""Customers have labels, and IDs that their resellers give them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("customers", sa.Column("external_id", sa.Text))
    op.add_column("customers", sa.Column("labels", sa.Text))
    condition = sa.text("external_id IS NOT NULL")
    op.create_index(
        "customers_external_id",
        "customers",
        ["reseller", "external_id"],
        unique=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )
