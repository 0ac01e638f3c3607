"""E-mails that remind of invitations."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "reminders",
        sa.Column("n", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("requested_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("claimed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("deferral", sa.Text),
    )
    for name, condition in (
        ("reminders_due", "due_at IS NOT NULL AND deferral IS NULL"),
        ("reminders_deferred", "due_at IS NOT NULL AND deferral IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "reminders", ["due_at"], sqlite_where=where, postgresql_where=where)
