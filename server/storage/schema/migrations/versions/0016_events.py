"""The log of what happens from now on, and webhooks.

Nothing is known of what happened before; a customer's log begins with its next change.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, _NUMBER, primary_key=True, autoincrement=False)


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _due_work() -> list[sa.Column[object]]:
    return [
        sa.Column("claimed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("deferral", sa.Text),
    ]


def upgrade() -> None:
    op.add_column("operations", _text("cancelled_by", null=True))
    op.create_table(
        "events",
        sa.Column("reseller", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        _number("created_at"),
        _text("subject"),
        _text("key_id", null=True),
        _text("request_id", null=True),
        _number("customer", null=True),
        _text("operation_id", null=True),
        _text("data"),
        sqlite_with_rowid=False,
    )
    _index("events_customer", "events", ["customer", "number"], "customer IS NOT NULL")
    op.create_table(
        "event_logs",
        _key("reseller"),
        _number("last"),
        _number("cleared"),
        _number("oldest_at", null=True),
    )
    op.create_table(
        "webhooks",
        _key("n"),
        _text("id"),
        _number("reseller"),
        _text("url"),
        _text("types"),
        _text("description"),
        sa.Column("content_type", sa.SmallInteger, nullable=False),
        _text("alert_email", null=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        _text("disable_reason"),
        _text("secret"),
        _text("old_secret", null=True),
        _number("old_secret_until", null=True),
        _number("created_at"),
        _number("updated_at"),
        sa.Column("revision", sa.Integer, nullable=False),
        _number("verified_at", null=True),
        _number("position"),
        _number("last_success_at", null=True),
        _number("failing_since", null=True),
        _number("paused_until", null=True),
        _number("no_new_until", null=True),
        _text("alert", null=True),
        _number("due_at", null=True),
        *_due_work(),
    )
    op.create_index("webhooks_id", "webhooks", ["id"], unique=True)
    op.create_index("webhooks_reseller", "webhooks", ["reseller", "n"])
    op.create_table(
        "deliveries",
        _key("n"),
        _number("webhook"),
        _number("reseller"),
        _number("event"),
        _number("customer"),
        _number("requested_at"),
        _number("due_at", null=True),
        sa.Column("tries", sa.Integer, nullable=False, server_default=sa.text("0")),
        *_due_work(),
    )
    op.create_index("deliveries_event", "deliveries", ["webhook", "event"], unique=True)
    _index(
        "deliveries_customer", "deliveries", ["webhook", "customer"], "customer != 0", unique=True
    )
    for table in ("webhooks", "deliveries"):
        due = "due_at IS NOT NULL AND deferral IS"
        _index(f"{table}_due", table, ["due_at"], f"{due} NULL")
        _index(f"{table}_deferred", table, ["due_at"], f"{due} NOT NULL")
    op.create_table(
        "attempts",
        _key("n"),
        _number("webhook"),
        _number("event"),
        _number("at"),
        sa.Column("took_ms", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        _text("error"),
        sa.Column("succeeded", sa.Boolean, nullable=False),
        _number("next_try_at", null=True),
    )
    op.create_index("attempts_webhook", "attempts", ["webhook", "n"])
    # Clocks differ: whatever is there already was changed before.
    op.execute(
        f"""
        INSERT INTO retention (name, value)
        SELECT 'events', max(at) + 1 FROM (
          SELECT {time.time_ns() // 1000} AS at
          UNION ALL SELECT max(modified_at) FROM customers
          UNION ALL SELECT max(modified_at) FROM operations
        ) AS changes
        """
    )
    op.execute("INSERT INTO retention (name, value) VALUES ('webhooks', 0)")


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        *(name, table, columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
