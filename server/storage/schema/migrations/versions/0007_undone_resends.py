"""An invitation remembers what it was before its latest resend, which may fail or be cancelled."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # Empty for those sent again before: what they were is not known.
    op.add_column("invitations", sa.Column("previous_operation_id", sa.Text))
    op.add_column("invitations", sa.Column("previous_resent_at", sa.BigInteger))
    op.add_column("invitations", sa.Column("previous_expires_at", sa.BigInteger))
