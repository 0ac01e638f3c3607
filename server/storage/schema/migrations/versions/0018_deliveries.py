"""Invitations tell how their e-mails stand: sent and when, came back, or not to be sent.

Of what was sent before, the time is that of its operation's end; it is not known where that is cleared.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("customers", sa.Column("delivery", sa.SmallInteger))
    op.add_column("customers", sa.Column("sent", sa.Text))
    op.execute(
        "UPDATE customers SET sent = (SELECT '[' || o.attempts || ', ' || o.modified_at || ', null]' "
        "FROM operations o WHERE o.n = customers.latest AND o.done AND o.failure IS NULL) "
        "WHERE invitation <> 0"
    )
    # Whose operation is cleared was sent long ago, but for what ended without an answer.
    op.execute(
        "UPDATE customers SET sent = '[1, null, null]' WHERE invitation IN (1, 2, 3) AND sent IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.n = customers.latest)"
    )
    condition = sa.text("delivery IS NOT NULL")
    op.create_index(
        "customers_undelivered",
        "customers",
        ["reseller", "delivery", "invitation", "n"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
