"""A SQLite file tells whether its log is missing."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "log_marks",
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("at_s", sa.BigInteger, nullable=False),
        sa.Column("log_needed", sa.Integer, nullable=False),
    )
