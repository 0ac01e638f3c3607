"""The tables of version 0015: the old ones set aside, the new ones, and their indexes."""

import sqlalchemy as sa
from alembic import op

# The tables whose rows are copied.
OLD = (
    "resellers",
    "customers",
    "invitations",
    "operations",
    "link_tokens",
    "idempotency_keys",
)
_OLD_INDEXES = (
    "operations_due",
    "operations_deferred",
    "operations_by_age",
    "operations_running_by_age",
    "operations_finished",
    "customers_by_age",
    "invitations_open",
    "invitations_lapsing",
    "invitations_ended",
    "invitations_by_state",
    "invitations_by_email",
    "ix_link_tokens_invitation_id",
    "ix_idempotency_keys_created_at",
)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def is_sqlite() -> bool:
    """Tells which of the two databases is upgraded."""
    return op.get_bind().dialect.name == "sqlite"


def set_old_tables_aside() -> None:
    """Gives the old tables names that the new ones do not have."""
    for name in _OLD_INDEXES:
        op.drop_index(name)
    for name in ("role_bindings", *OLD):
        op.rename_table(name, f"old_{name}")
        if not is_sqlite():
            op.execute(f"ALTER INDEX {name}_pkey RENAME TO old_{name}_pkey")
    if not is_sqlite():
        # The new table's has this name.
        op.execute(
            "ALTER TABLE old_role_bindings "
            "RENAME CONSTRAINT role_bindings_reseller_id_fkey TO old_role_bindings_reseller_id_fkey"
        )
    # For this migration alone.
    op.create_index("old_invitations_customer", "old_invitations", ["customer_id"])
    is_served = sa.text("kind = 'create_reseller_served'")
    op.create_index(
        "old_operations_customer",
        "old_operations",
        ["customer_id"],
        sqlite_where=is_served,
        postgresql_where=is_served,
    )


def create_tables() -> None:
    """Makes the new tables, without indexes."""
    if not is_sqlite():
        op.execute("CREATE SEQUENCE numbers")
    op.create_table(
        "resellers",
        key_column("n"),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.Column("suspended_at", sa.BigInteger),
        sa.Column("contact", sa.Text),
    )
    op.create_index("resellers_id", "resellers", ["id"], unique=True)
    op.create_table(
        "role_bindings",
        sa.Column("subject_id", sa.Text, primary_key=True),
        sa.Column("reseller_id", sa.Text, sa.ForeignKey("resellers.id"), primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "customers",
        key_column("n"),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("reseller", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("invitation", sa.SmallInteger, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("address_key", sa.BigInteger),
        sa.Column("slot", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("latest", sa.BigInteger),
        sa.Column("has_links", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("resent_at", sa.BigInteger),
        sa.Column("previous_latest", sa.BigInteger),
        sa.Column("previous_resent_at", sa.BigInteger),
        sa.Column("previous_expires_at", sa.BigInteger),
        sa.Column("invitation_id", sa.Text),
        sa.Column("operation_id", sa.Text),
        sa.Column("billing_account_id", sa.Text),
    )
    op.create_table(
        "operations",
        key_column("n"),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("reseller", sa.BigInteger, nullable=False),
        sa.Column("customer", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("id", sa.Text),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("key", sa.LargeBinary),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("claimed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("failure", sa.Text),
        sa.Column("deferral", sa.Text),
        sa.Column("keyed_at", sa.BigInteger),
        sa.Column("customer_id", sa.Text),
        sa.Column("billing_account_id", sa.Text),
    )
    op.create_table(
        "link_tokens",
        key_column("n"),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("customer", sa.BigInteger, nullable=False),
        sa.Column("operation", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("target_kind", sa.SmallInteger, nullable=False),
        sa.Column("target", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def key_column(name: str) -> sa.Column[int]:
    """Returns the column of a number that is the primary key."""
    return sa.Column(name, _NUMBER, primary_key=True, autoincrement=False)


def create_indexes() -> None:
    """Makes the indexes, once all rows are there."""

    def is_set(name: str) -> sa.ColumnElement[bool]:
        return sa.column(name).is_not(None)

    def index(
        name: str,
        table: str,
        *columns: str,
        where: sa.ColumnElement[bool] | None = None,
        unique: bool = False,
    ) -> None:
        op.create_index(
            name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where
        )

    done, deleted = sa.column("done", sa.Boolean), sa.column("deleted", sa.Boolean)
    is_pending = sa.column("invitation") == sa.text("1")
    has_ended = is_set("ended_at") & sa.column("has_links", sa.Boolean)
    index("customers_id", "customers", "id", unique=True)
    index("customers_by_state", "customers", "reseller", "invitation", "n")
    index(
        *("customers_by_address", "customers", "address_key", "slot"),
        where=is_set("address_key"),
        unique=True,
    )
    index("customers_lapsing", "customers", "expires_at", where=is_pending)
    index("customers_ended", "customers", "ended_at", where=has_ended)
    index(
        *("customers_invitation_id", "customers", "invitation_id"),
        where=is_set("invitation_id"),
        unique=True,
    )
    index("operations_id", "operations", "id", where=is_set("id"), unique=True)
    is_new = sa.column("deferral").is_(None)
    index("operations_due", "operations", "due_at", where=is_set("due_at") & is_new)
    index("operations_deferred", "operations", "due_at", where=is_set("due_at") & ~is_new)
    index("operations_by_state", "operations", "reseller", "done", "n", where=~deleted)
    index("operations_finished", "operations", "modified_at", where=done == sa.true())
    index("operations_key", "operations", "key", where=is_set("key"), unique=True)
    index("operations_keyed", "operations", "created_at", where=is_set("key"))
    index("link_tokens_customer", "link_tokens", "customer")
    index("ix_idempotency_keys_created_at", "idempotency_keys", "created_at")
