"""Resellers can be suspended."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("resellers", sa.Column("suspended_at", sa.BigInteger))
