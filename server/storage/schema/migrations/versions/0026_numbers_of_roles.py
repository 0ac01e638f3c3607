"""Roles have numbers, which lists of a reseller's go by."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_COLUMNS = "subject_id, reseller_id, role, created_at"


def upgrade() -> None:
    op.execute(f"CREATE TEMPORARY TABLE old_roles AS SELECT {_COLUMNS} FROM role_bindings")
    op.drop_table("role_bindings")
    op.create_table(
        "role_bindings",
        sa.Column("n", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("reseller_id", sa.Text, sa.ForeignKey("resellers.id"), nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    postgresql = op.get_bind().dialect.name == "postgresql"
    number = "nextval('numbers')" if postgresql else "row_number() OVER ()"
    op.execute(
        f"INSERT INTO role_bindings (n, {_COLUMNS}) SELECT {number}, {_COLUMNS} FROM "
        f"(SELECT * FROM old_roles ORDER BY created_at, subject_id, reseller_id, role) AS roles"
    )
    op.execute("DROP TABLE old_roles")
    op.create_index(
        "role_bindings_held", "role_bindings", ["subject_id", "reseller_id", "role"], unique=True
    )
    op.create_index("role_bindings_by_reseller", "role_bindings", ["reseller_id", "n"])
