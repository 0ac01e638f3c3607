"""Billing accounts are found by their IDs, also those that end unlike their customers'."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    condition = sa.text("billing_account_id IS NOT NULL")
    op.create_index(
        "customers_billing_account_id",
        "customers",
        ["billing_account_id"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
