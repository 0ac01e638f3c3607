"""Operations keep which call asked for them."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("operations", sa.Column("origin", sa.Text))
