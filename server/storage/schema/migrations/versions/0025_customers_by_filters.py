"""Lists of customers pass deleted ones by, and find suspended ones and external IDs by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

_BY_STATE = ["reseller", "invitation", "n"]


def upgrade() -> None:
    op.drop_index("customers_by_state", "customers")
    for name, columns, condition in (
        ("customers_by_state", _BY_STATE, "deleted_at IS NULL"),
        ("customers_deleted_by_state", _BY_STATE, "deleted_at IS NOT NULL"),
        ("customers_suspended", ["reseller", "n"], "state = 3 AND deleted_at IS NULL"),
        (
            "customers_deleted_external_id",
            ["reseller", "external_id"],
            "external_id IS NOT NULL AND deleted_at IS NOT NULL",
        ),
    ):
        op.create_index(
            *(name, "customers", columns),
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
