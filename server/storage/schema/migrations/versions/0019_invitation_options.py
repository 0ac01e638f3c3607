"""Invitations have options: a language, a note and the like."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("customers", sa.Column("options", sa.Text))
