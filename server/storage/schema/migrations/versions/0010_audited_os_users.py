"""The audit keeps the operating system's user beside the name that was given."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Empty for what was recorded before.
    op.add_column(
        "audit_records", sa.Column("os_user", sa.Text, nullable=False, server_default=sa.text("''"))
    )
