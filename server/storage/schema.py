"""The tables. The migrations make exactly these; a test compares the two on both databases.

Times are microseconds since 1970 UTC. Keys are random but for a digit that changes every second, so
that no range of a distributed database stays hot. Each index costs on every write, so there is one
only where a call needs it. Rows of great number carry no foreign keys: each would look its parent up
on every insert. Columns with a default were added when there were rows.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
    true,
)

# The latest migration: what a server started from this code works with.
REVISION = "0014"

metadata = MetaData()

# A removed one stays for what it has invited, and its roles until it is added again, to tell those
# who have them why they are refused.
resellers = Table(
    "resellers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("suspended_at", BigInteger),
    Column("contact", Text),
)

service_accounts = Table(
    "service_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

account_keys = Table(
    "account_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("service_account_id", Text, ForeignKey("service_accounts.id"), nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("subject_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)

# Kept until the token would have expired anyway.
revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# `subject_id` is a service account's, or a subject's of an outside issuer.
role_bindings = Table(
    "role_bindings",
    metadata,
    Column("subject_id", Text, primary_key=True),
    Column("reseller_id", Text, ForeignKey("resellers.id"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

# One row is the record that callers see and the unit of work behind it. `due_at` is when a worker
# may next take it up: at once for a new one, later after a failed try, and at the end of the lease
# while one has it (`claimed`); NULL once there is nothing to do, or while its reseller is held.
# `attempts` counts claims and fences. `deferral` tells of the last try that failed, and keeps those
# that are tried again apart from new ones. A deleted one is kept for the idempotency keys that stand
# for it; `keyed_at` is when the
# latest of those came that did not make it.
operations = Table(
    "operations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("reseller_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("billing_account_id", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("failure", Text),
    Column("deleted", Boolean, nullable=False),
    Column("invitation_id", Text),
    Column("due_at", BigInteger),
    Column("claimed", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("keyed_at", BigInteger),
    Column("deferral", Text),
)
_is_due = operations.c.due_at.is_not(None)
_is_new = operations.c.deferral.is_(None)

# All lists are for one reseller, newest first. What is not done is a small part of all, so listing
# it has an index of its own.
for _name, _columns, _condition in (
    ("operations_due", ("due_at",), _is_due & _is_new),
    ("operations_deferred", ("due_at",), _is_due & ~_is_new),
    ("operations_by_age", ("reseller_id", "created_at", "id"), ~operations.c.deleted),
    ("operations_running_by_age", ("reseller_id", "created_at", "id"), ~operations.c.done),
    ("operations_finished", ("modified_at",), operations.c.done == true()),
):
    Index(
        _name,
        *(operations.c[column] for column in _columns),
        sqlite_where=_condition,
        postgresql_where=_condition,
    )

# `person` is a JSON object; `email` is where the customer was invited.
customers = Table(
    "customers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("reseller_id", Text, nullable=False),
    Column("billing_account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("email", Text),
)
Index("customers_by_age", customers.c.reseller_id, customers.c.created_at, customers.c.id)

# `open_key` is NULL once the invitation is not pending; `operation_id` is the operation that made
# it, `latest_operation_id` the one that sent, or is to send, its latest e-mail. `email_key` is its
# `address_key`. `linked` ends when the links to an ended one are cleared. `previous_…` is what was
# there before it was sent again; a resend that fails gives it back.
invitations = Table(
    "invitations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("reseller_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("operation_id", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("open_key", LargeBinary),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("latest_operation_id", Text, nullable=False, server_default=text("''")),
    Column("resent_at", BigInteger),
    Column("email_key", Text, nullable=False, server_default=text("''")),
    Column("linked", Boolean, nullable=False, server_default=true()),
    Column("previous_operation_id", Text),
    Column("previous_resent_at", BigInteger),
    Column("previous_expires_at", BigInteger),
)
_is_open = invitations.c.open_key.is_not(None)
for _name, _column, _unique, _condition in (
    ("invitations_open", invitations.c.open_key, True, _is_open),
    ("invitations_lapsing", invitations.c.expires_at, False, _is_open),
    (
        "invitations_ended",
        invitations.c.ended_at,
        False,
        invitations.c.ended_at.is_not(None) & invitations.c.linked,
    ),
):
    Index(_name, _column, unique=_unique, sqlite_where=_condition, postgresql_where=_condition)
# Lists of all states are merged from those of each.
for _name, _filters in (
    ("invitations_by_state", ("reseller_id", "state")),
    ("invitations_by_email", ("email_key", "reseller_id")),
):
    Index(_name, *(invitations.c[column] for column in (*_filters, "created_at", "id")))

# A link holds while `operation_id` is the invitation's latest.
link_tokens = Table(
    "link_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("invitation_id", Text, nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("operation_id", Text, nullable=False, server_default=text("''")),
)

# `target_id` is what the request with the key made or changed: an operation or an invitation.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("target_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

# What limits are counted by. A scope is `customers/RESELLER`, or of e-mails `address/HASH` or the
# limit's name and the reseller. A row counts until its time, customers for ever.
FOR_EVER = 2**62
counts = Table(
    "counts",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("counts_until", BigInteger, primary_key=True, index=True),
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# A row for each process that writes to SQLite: whether the file alone, without its log, is not whole.
# See `log_marks.py`; on PostgreSQL there are none.
log_marks = Table(
    "log_marks",
    metadata,
    Column("process", Text, primary_key=True),
    Column("at_s", BigInteger, nullable=False),
    Column("log_needed", Integer, nullable=False),
)

# One row, `operations`: those that ended before `cleared_before` may have been cleared since.
retention = Table(
    "retention",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cleared_before", BigInteger, nullable=False),
)

# Who changed what of the tables on top, from the command line or by a program's start.
audit_records = Table(
    "audit_records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("os_user", Text, nullable=False, server_default=text("''")),
)
Index("audit_records_by_age", audit_records.c.at, audit_records.c.id)
