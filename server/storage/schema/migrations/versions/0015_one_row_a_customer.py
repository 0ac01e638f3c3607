"""A customer and its invitation are one row; integer keys inside; keys of operations in their rows.

Everything is copied into new tables, some thousand rows at a time, in one transaction: interrupted
anywhere it has changed nothing. All IDs stay valid, and so do links and idempotency keys.

What was made earlier gets a lower number, as new rows do. An operation that made a customer shares its
number. IDs that don't end like the customer's are kept in columns of their own.

Longer than others: it copies the rows of all tables.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from server.storage.schema.migrations.tables_of_0015 import (
    OLD,
    create_indexes,
    create_tables,
    is_sqlite,
    key_column,
    set_old_tables_aside,
)

revision = "0015"
down_revision = "0014"

# What is read, and written, at a time.
_PIECE = 5_000

_CUSTOMER_STATES = ("acceptance_required", "active", "suspended", "inactive")
_INVITATION_STATES = ("pending", "accepted", "declined", "revoked", "expired")
_KINDS = ("invite", "resend", "create_reseller_served", "activate", "suspend")


def upgrade() -> None:
    if is_sqlite():
        # KiB. Else pages that change again and again are written to the log as often.
        op.execute("PRAGMA cache_size = -131072")
    set_old_tables_aside()
    create_tables()
    _copy_resellers()
    _draw_numbers()
    drawn, links = _one("SELECT count(*) FROM drawn"), _one("SELECT count(*) FROM old_link_tokens")
    progress = _progress(drawn + links)
    for first in range(1, drawn + 1, _PIECE):
        last = min(first + _PIECE, drawn + 1)
        _copy_customers(first, last)
        _copy_operations(first, last)
        progress(last - first)
    for copied in _copy_links():
        progress(copied)
    _tell_collisions_apart()
    _copy_keys()
    for name in ("role_bindings", *OLD):
        op.drop_table(f"old_{name}")
    for name in ("drawn", "making_keys"):
        op.drop_table(name)
    create_indexes()
    op.alter_column("retention", "cleared_before", new_column_name="value")
    # Numbers up to this one are given to none that come later.
    op.execute(f"INSERT INTO retention VALUES ('numbers', {drawn})")
    if not is_sqlite():
        op.execute(f"SELECT setval('numbers', {drawn + 1}, false)")
        op.execute("ANALYZE")


def _progress(total: int) -> Callable[[int], None]:
    """Returns what is told how many rows more are done; it tells `migrate` of all."""
    tell = op.get_context().opts.get("progress")
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if tell:
            tell(done, total)

    return advance


def _one(query: str) -> Any:
    return op.get_bind().execute(sa.text(query)).scalar_one()


def _insert(table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows by the driver itself, which takes a tenth of the time."""
    connection: Any = op.get_bind().connection.driver_connection
    cursor = connection.cursor()
    if is_sqlite():
        places = ", ".join("?" * len(columns.split(",")))
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
    else:
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    cursor.close()


def _copy_resellers() -> None:
    columns = "id, name, created_at, modified_at, removed_at, suspended_at, contact"
    op.execute(
        f"INSERT INTO resellers (n, {columns}) "
        f"SELECT row_number() OVER (ORDER BY created_at, id), {columns} FROM old_resellers"
    )
    op.execute(
        "INSERT INTO role_bindings (subject_id, reseller_id, role, created_at) "
        "SELECT subject_id, reseller_id, role, created_at FROM old_role_bindings"
    )


def _draw_numbers() -> None:
    """Makes the table of numbers: one for each customer and the operation that made it, one for each
    other operation, and one for each cleared operation that a link or an invitation still names."""
    op.create_table(
        "drawn",
        key_column("n"),
        sa.Column("customer_id", sa.Text),
        sa.Column("operation_id", sa.Text),
    )
    op.execute(
        """
        INSERT INTO drawn (n, customer_id, operation_id)
        SELECT row_number() OVER (ORDER BY at, place, id), customer_id, operation_id FROM (
          SELECT c.created_at AS at, 0 AS place, c.id AS id, c.id AS customer_id,
            coalesce(i.operation_id, o.id) AS operation_id
          FROM old_customers c
          LEFT JOIN old_invitations i ON i.customer_id = c.id
          LEFT JOIN old_operations o
            ON o.customer_id = c.id AND o.kind = 'create_reseller_served'
          UNION ALL
          SELECT o.created_at, 1, o.id, NULL, o.id FROM old_operations o
          WHERE NOT (
            o.kind = 'create_reseller_served'
              AND EXISTS (SELECT 1 FROM old_customers c WHERE c.id = o.customer_id)
            OR o.kind = 'invite' AND EXISTS (
              SELECT 1 FROM old_invitations i WHERE i.id = o.invitation_id AND i.operation_id = o.id
            )
          )
          UNION ALL
          SELECT min(at), 2, id, NULL, id FROM (
            SELECT coalesce(i.resent_at, i.created_at) AS at, i.latest_operation_id AS id
            FROM old_invitations i WHERE i.latest_operation_id <> i.operation_id
            UNION ALL
            SELECT coalesce(i.previous_resent_at, i.created_at), i.previous_operation_id
            FROM old_invitations i WHERE i.previous_operation_id <> i.operation_id
            UNION ALL
            SELECT l.created_at, l.operation_id FROM old_link_tokens l
            LEFT JOIN old_invitations i ON i.id = l.invitation_id
            WHERE l.operation_id <> coalesce(i.operation_id, '')
          ) AS named
          WHERE NOT EXISTS (SELECT 1 FROM old_operations o WHERE o.id = named.id)
          GROUP BY id
        ) AS made
        """
    )
    op.create_index("drawn_customer", "drawn", ["customer_id"])
    op.create_index("drawn_operation", "drawn", ["operation_id"])
    op.create_table(
        "making_keys",
        sa.Column("operation_id", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    )
    op.execute(
        """
        INSERT INTO making_keys (operation_id, key, fingerprint)
        SELECT target_id, key, fingerprint FROM (
          SELECT k.target_id, k.key, k.fingerprint,
            row_number() OVER (PARTITION BY k.target_id ORDER BY k.key) AS place
          FROM old_idempotency_keys k
          JOIN old_operations o ON o.id = k.target_id AND o.created_at = k.created_at
        ) AS keys WHERE place = 1
        """
    )
    if not is_sqlite():
        for name in ("drawn", "making_keys", *(f"old_{name}" for name in OLD)):
            op.execute(f"ANALYZE {name}")


def _copy_customers(first: int, last: int) -> None:
    """Copies customers with their invitations: those with numbers from `first` to below `last`."""
    found = op.get_bind().execute(
        sa.text(
            """
            SELECT d.n, c.id, r.n, r.id, c.state, c.name, c.person, c.created_at, c.modified_at,
              c.billing_account_id, i.id, i.operation_id, i.state, i.email, i.email_key,
              i.expires_at, i.ended_at, i.resent_at, i.linked, latest.n, previous.n,
              i.previous_resent_at, i.previous_expires_at
            FROM drawn d
            JOIN old_customers c ON c.id = d.customer_id
            JOIN resellers r ON r.id = c.reseller_id
            LEFT JOIN old_invitations i ON i.customer_id = c.id
            LEFT JOIN drawn latest ON latest.operation_id = i.latest_operation_id
            LEFT JOIN drawn previous ON previous.operation_id = i.previous_operation_id
            WHERE d.n >= :first AND d.n < :last
            """
        ),
        {"first": first, "last": last},
    )
    _insert("customers", _CUSTOMER_COLUMNS, [_customer(*row) for row in found])


_CUSTOMER_COLUMNS = (
    "n, id, reseller, state, name, person, created_at, modified_at, invitation, email, address_key, "
    "slot, expires_at, latest, has_links, ended_at, resent_at, previous_latest, previous_resent_at, "
    "previous_expires_at, invitation_id, operation_id, billing_account_id"
)


def _customer(
    n: int,
    id_: str,
    reseller: int,
    reseller_id: str,
    state: str,
    name: str,
    person: str,
    created_at: int,
    modified_at: int,
    account_id: str,
    invitation_id: str | None,
    operation_id: str | None,
    invitation: str | None,
    email: str | None,
    email_key: str | None,
    expires_at: int | None,
    ended_at: int | None,
    resent_at: int | None,
    linked: bool | None,
    latest: int | None,
    *previous: int | None,
) -> tuple[Any, ...]:
    """Returns the new row; the hashes are as in `server.storage.invitations.addresses`."""
    address, slot = None, None
    if invitation is not None:
        address = _hash(email_key or "", signed=True)
        slot = _open_slot(reseller_id, person) if invitation == "pending" else -n
    return (
        *(n, id_, reseller, _CUSTOMER_STATES.index(state) + 1, name, person),
        *(created_at, modified_at),
        0 if invitation is None else _INVITATION_STATES.index(invitation) + 1,
        *(email, address, slot, expires_at, latest),
        True if linked is None else bool(linked),
        *(ended_at, resent_at, *previous),
        _unlike(invitation_id, "inv", id_),
        _unlike(operation_id, "bop", id_),
        _unlike(account_id, "bac", id_),
    )


def _unlike(id_: str | None, prefix: str, customer_id: str) -> str | None:
    """Returns an ID that is not `prefix` and what the customer's ends with."""
    alike = customer_id.startswith("bcu") and id_ == prefix + customer_id[3:]
    return None if alike else id_


def _open_slot(reseller_id: str, person: str) -> int:
    tin = json.loads(person).get("tin", "").strip()
    return _hash(f"{reseller_id}\0{tin}") % _SLOTS


_SLOTS = 1 << 31


def _hash(text: str, *, signed: bool = False) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=signed)


def _tell_collisions_apart() -> None:
    """Gives open invitations whose hashes are the same slots of their own."""
    find = sa.text(
        "SELECT address_key, slot, max(n) FROM customers WHERE slot >= 0 "
        "GROUP BY address_key, slot HAVING count(*) > 1"
    )
    move = sa.text(
        "UPDATE customers SET slot = slot + :slots WHERE address_key = :address AND n = :n"
    )
    while found := op.get_bind().execute(find).all():
        for address, _, n in found:
            op.get_bind().execute(move, {"slots": _SLOTS, "address": address, "n": n})


def _copy_operations(first: int, last: int) -> None:
    kinds = " ".join(f"WHEN '{kind}' THEN {code}" for code, kind in enumerate(_KINDS, 1))
    op.get_bind().execute(
        sa.text(
            f"""
            INSERT INTO operations (n, kind, reseller, customer, created_by, created_at,
              modified_at, done, id, due_at, key, fingerprint, deleted, claimed, attempts,
              cancel_requested, failure, deferral, keyed_at, customer_id, billing_account_id)
            SELECT d.n, CASE o.kind {kinds} END, r.n, coalesce(c.n, d.n), o.created_by, o.created_at,
              o.modified_at, o.done,
              CASE WHEN c.n = d.n AND substr(o.customer_id, 1, 3) = 'bcu'
                AND o.id = 'bop' || substr(o.customer_id, 4) THEN NULL ELSE o.id END,
              o.due_at, k.key, k.fingerprint, o.deleted, o.claimed, o.attempts,
              o.cancel_requested, o.failure, o.deferral, o.keyed_at,
              CASE WHEN c.n IS NULL THEN o.customer_id END,
              CASE WHEN c.n IS NULL THEN o.billing_account_id END
            FROM drawn d
            JOIN old_operations o ON o.id = d.operation_id
            JOIN resellers r ON r.id = o.reseller_id
            LEFT JOIN drawn c ON c.customer_id = o.customer_id
            LEFT JOIN making_keys k ON k.operation_id = o.id
            WHERE d.n >= :first AND d.n < :last
            """
        ),
        {"first": first, "last": last},
    )


def _copy_links() -> Iterator[int]:
    """Copies links; yields how many, time and again."""
    page = sa.text(
        """
        SELECT l.token_hash, c.n, o.n, l.created_at
        FROM old_link_tokens l
        LEFT JOIN old_invitations i ON i.id = l.invitation_id
        LEFT JOIN drawn c ON c.customer_id = i.customer_id
        LEFT JOIN drawn o ON o.operation_id = l.operation_id
        WHERE l.token_hash > :after ORDER BY l.token_hash LIMIT :piece
        """
    )
    after = b""
    while rows := op.get_bind().execute(page, {"after": after, "piece": _PIECE}).all():
        after = bytes(rows[-1][0])
        _insert(
            "link_tokens",
            "n, hash, customer, operation, created_at",
            [
                (_link_number(bytes(hash_)), bytes(hash_), customer, operation, created_at)
                for hash_, customer, operation, created_at in rows
                if customer is not None and operation is not None
            ],
        )
        yield len(rows)


def _link_number(token_hash: bytes) -> int:
    """As `server.storage.invitations.links`."""
    number = int.from_bytes(token_hash[-8:]) >> 1
    if len(token_hash) > 32 + 1:
        time = 0
        for digit in token_hash[:4]:
            time = time << 5 | b"0123456789abcdefghijklmnopqrstuv".index(digit)
        number = time << 43 | number & (1 << 43) - 1
    return number


def _copy_keys() -> None:
    """Copies the keys that did not make what they stand for."""
    op.execute(
        """
        INSERT INTO idempotency_keys (key, fingerprint, target_kind, target, created_at)
        SELECT k.key, k.fingerprint, 1, d.n, k.created_at
        FROM old_idempotency_keys k
        JOIN drawn d ON d.operation_id = k.target_id
        JOIN operations o ON o.n = d.n
        LEFT JOIN making_keys m ON m.operation_id = k.target_id AND m.key = k.key
        WHERE m.key IS NULL
        UNION ALL
        SELECT k.key, k.fingerprint, 2, d.n, k.created_at
        FROM old_idempotency_keys k
        JOIN old_invitations i ON i.id = k.target_id
        JOIN drawn d ON d.customer_id = i.customer_id
        """
    )
    op.execute(
        """
        UPDATE operations SET keyed_at = keys.at
        FROM (SELECT target, max(created_at) AS at FROM idempotency_keys WHERE target_kind = 1
          GROUP BY target) AS keys
        WHERE keys.target = operations.n AND coalesce(operations.keyed_at, 0) < keys.at
        """
    )
