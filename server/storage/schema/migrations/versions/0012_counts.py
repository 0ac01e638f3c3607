"""What limits are counted by: e-mails, and each reseller's customers."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "counts",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("counts_until", sa.BigInteger, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_counts_counts_until", "counts", ["counts_until"])
    op.execute(
        # For ever: 2**62.
        "INSERT INTO counts SELECT 'customers/' || reseller_id, 4611686018427387904, count(*) "
        "FROM customers GROUP BY reseller_id"
    )
