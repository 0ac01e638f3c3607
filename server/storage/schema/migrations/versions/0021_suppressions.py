"""Addresses that nothing is sent to."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "suppressions",
        sa.Column("n", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("reason", sa.SmallInteger, nullable=False),
        sa.Column("reseller", sa.BigInteger),
        sa.Column("email", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("suppressions_id", "suppressions", ["id"], unique=True)
    op.create_index("suppressions_scope", "suppressions", ["scope"], unique=True)
    condition = sa.text("reseller IS NOT NULL")
    op.create_index(
        "suppressions_by_reseller",
        "suppressions",
        ["reseller", "n"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
