"""Lists of a reseller's customers."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("customers_by_age", "customers", ["reseller_id", "created_at", "id"])
