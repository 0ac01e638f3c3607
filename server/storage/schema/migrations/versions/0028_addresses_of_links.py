"""Whom a link was sent to, once the invitation's address has been corrected."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("link_tokens", sa.Column("email", sa.Text))
