"""Operations tell why their e-mail is late, and e-mails that are tried again stand apart from new ones."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("operations", sa.Column("deferral", sa.Text))
    op.drop_index("operations_due", "operations")
    is_due, deferral = sa.column("due_at").is_not(None), sa.column("deferral", sa.Text)
    for name, condition in (
        ("operations_due", is_due & deferral.is_(None)),
        ("operations_deferred", is_due & deferral.is_not(None)),
    ):
        op.create_index(
            name, "operations", ["due_at"], sqlite_where=condition, postgresql_where=condition
        )
