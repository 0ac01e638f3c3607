"""Resellers have contact details, and origins that pages may lead back to."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("resellers", sa.Column("contact_details", sa.Text))
    op.add_column("resellers", sa.Column("return_origins", sa.Text))
