"""What is old is found: finished operations, old keys, links to invitations that have ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("operations", sa.Column("keyed_at", sa.BigInteger))
    op.execute(
        "UPDATE operations SET keyed_at = latest.at FROM "
        "(SELECT target_id, max(created_at) AS at FROM idempotency_keys GROUP BY target_id) AS latest "
        "WHERE latest.target_id = operations.id AND latest.at > operations.created_at"
    )
    op.add_column(
        "invitations", sa.Column("linked", sa.Boolean, nullable=False, server_default=sa.true())
    )
    is_done = sa.column("done", sa.Boolean) == sa.true()
    is_linked = sa.column("ended_at").is_not(None) & sa.column("linked", sa.Boolean)
    for name, table, column, condition in (
        ("operations_finished", "operations", "modified_at", is_done),
        ("invitations_ended", "invitations", "ended_at", is_linked),
    ):
        op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "retention",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cleared_before", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO retention VALUES ('operations', 0)")
