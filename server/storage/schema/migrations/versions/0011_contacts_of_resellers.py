"""Resellers have an address for the questions of whom they invite."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("resellers", sa.Column("contact", sa.Text))
