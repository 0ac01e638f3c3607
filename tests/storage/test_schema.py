"""The schema: migrations make it, servers insist on it, and every query has an index."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import PoolProxiedConnection

import server.storage.schema.migrations
from server.domain.access import VerifiedToken
from server.domain.addresses import address_key
from server.domain.customers import CustomerList, CustomerState
from server.domain.errors import BillingError
from server.domain.filters import Comparator, Comparison, Present
from server.domain.invitations import (
    InvitationAction,
    InvitationList,
    InvitationState,
    link_token_hash,
    resend,
)
from server.domain.mail import DeliveryState
from server.domain.operations import CANCELLED
from server.storage import SchemaError, migrate, open_storage
from server.storage.interface import Cursor
from server.storage.invitations.addresses import address_hash
from server.storage.schema.tables import REVISION, metadata
from server.storage.sql.connections import Database
from server.storage.storage import SqlStorage
from tests.storage.databases import Databases, query
from tests.storage.old_schemas import upgrade
from tests.storage.records import (
    ACTOR,
    DONE,
    LEASE,
    RESELLER,
    START,
    claimed,
    done_is,
    invitations,
    invited,
    key,
    new,
    records,
)

HOUR_S = 3600
# What `pg_dump --schema-only` would tell apart, but for names of NOT NULL, which nothing goes by.
_ON_POSTGRESQL = [
    f"SELECT {columns} FROM {catalog}"
    for catalog, columns in {
        "information_schema.columns WHERE table_schema = 'public'": "table_name, column_name, "
        "ordinal_position, data_type, is_nullable, column_default, character_maximum_length",
        "pg_indexes WHERE schemaname = 'public'": "tablename, indexname, indexdef",
        "pg_constraint WHERE connamespace = 'public'::regnamespace AND contype != 'n'": "conname, "
        "conrelid::regclass::text, pg_get_constraintdef(oid)",
        "pg_class WHERE relnamespace = 'public'::regnamespace": "relname, relkind::text, reloptions",
        "pg_sequences WHERE schemaname = 'public'": "sequencename, data_type::text, start_value, "
        "increment_by, cycle, last_value",
    }.items()
]


def test_the_code_works_with_the_latest_migration() -> None:
    scripts = ScriptDirectory(str(Path(server.storage.schema.migrations.__file__).parent))
    assert scripts.get_heads() == [REVISION]


def test_migrations_and_a_new_database_have_one_schema(
    databases: Databases, database_url: str
) -> None:
    migrated = databases.empty("migrated")
    upgrade(migrated, "head")
    assert _made(database_url) == _made(migrated)
    for url in (database_url, migrated):
        with Database(url).engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": True})
            assert compare_metadata(context, metadata) == []


def _made(url: str) -> list[tuple[Any, ...]]:
    """Returns all that there is in a database: its definitions, and its rows but for times."""
    database = Database(url)
    if database.is_sqlite:
        rows = query(url, "SELECT type, name, tbl_name, sql FROM sqlite_master")
        made = [tuple(" ".join(str(each).split()) for each in row) for row in rows]
    else:
        made = [row for what in _ON_POSTGRESQL for row in query(url, what)]
    made += query(url, "SELECT version_num FROM alembic_version")
    made += query(url, "SELECT name, value FROM retention WHERE name != 'events'")
    ((since,),) = query(url, "SELECT value FROM retention WHERE name = 'events'")
    assert 0 <= time.time() - since / 1_000_000 < HOUR_S
    assert {table for table in metadata.tables if query(url, f"SELECT 1 FROM {table}")} == {
        "retention"
    }
    return sorted(made, key=repr)


def test_migrating_again_changes_nothing(database_url: str) -> None:
    query(
        database_url,
        "INSERT INTO resellers (n, id, name, created_at, modified_at) VALUES (1, 'r', 'Name', 1, 1)",
    )
    migrate(database_url)
    assert query(database_url, "SELECT name FROM resellers") == [("Name",)]


def test_processes_that_migrate_at_once_do_not_collide(databases: Databases) -> None:
    url = databases.empty("contended")
    script = f"from server.storage import migrate; migrate({url!r})"
    children = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(4)
    ]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0] * 4, errors
    assert query(url, "SELECT version_num FROM alembic_version") == [(REVISION,)]


@pytest.mark.parametrize("version", ["none", "older", "newer"])
async def test_a_schema_of_another_version_is_refused(
    databases: Databases, database_url: str, version: str
) -> None:
    if version == "none":
        database_url = databases.empty("bare")
    else:
        number = {"older": "0000", "newer": "9999"}[version]
        query(database_url, f"UPDATE alembic_version SET version_num = '{number}'")
    with pytest.raises(SchemaError, match="billing-server migrate") as refused:
        await open_storage(database_url, idempotency_lifetime=timedelta(days=1))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:"])
async def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite://"):
        await open_storage(url, idempotency_lifetime=timedelta(days=1))


def test_rows_of_before_get_what_later_migrations_added(databases: Databases) -> None:
    url = databases.empty("with_rows")
    upgrade(url, "0003")
    query(url, "INSERT INTO resellers VALUES ('r', 'Name', 1, 1, NULL)")
    for id_, key_ in (("1", "x"), ("2", None)):
        query(
            url,
            "INSERT INTO customers VALUES (:id, 'r', 'b', 'N', '{}', 'acceptance_required', 1, 1)",
            id=f"bcu{id_}",
        )
        query(
            url,
            "INSERT INTO invitations VALUES "
            "(:id, 'r', :customer, :operation, 'Ё@Example.com', :key, 'pending', 1, 99)",
            id=f"inv{id_}",
            customer=f"bcu{id_}",
            operation=f"bop{id_}",
            key=key_ and key_.encode(),
        )
    query(url, "INSERT INTO link_tokens VALUES (:hash, 'inv1', 1)", hash=b"h")
    query(
        url, "INSERT INTO idempotency_keys VALUES (:key, :print, 'bop1', 1)", key=b"k", print=b"p"
    )
    migrate(url)
    columns = "id, email, state, invitation, expires_at, ended_at, resent_at, invitation_id"
    assert query(url, f"SELECT {columns} FROM customers ORDER BY id") == [
        ("bcu1", "Ё@Example.com", 1, 1, 99, None, None, None),
        ("bcu2", "Ё@Example.com", 4, 5, 99, 99, None, None),
    ]
    ((first, second),) = query(url, "SELECT min(address_key), max(address_key) FROM customers")
    assert first == second == address_hash(address_key("Ё@Example.com"))
    assert query(url, "SELECT customer, operation FROM link_tokens") == [(1, 1)]
    assert query(url, "SELECT count(*) FROM idempotency_keys") == [(0,)]  # their operation is gone


async def test_no_call_reads_a_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    seen: set[str] = set()
    connect = Database.connect

    def traced(self: Database, *, writes: bool = False) -> PoolProxiedConnection:
        connection = connect(self, writes=writes)
        assert isinstance(connection.driver_connection, sqlite3.Connection)
        connection.driver_connection.set_trace_callback(seen.add)
        return connection

    monkeypatch.setattr(Database, "connect", traced)
    storage = await open_storage(url, idempotency_lifetime=timedelta(days=1))
    await _call_everything(storage)
    await storage.close()
    statements = sorted(
        text
        for text in seen
        if text.startswith(("SELECT", "UPDATE", "DELETE", "INSERT"))
        and "alembic_version" not in text  # read when a server starts
        and "sqlite_master" not in text  # the same
        and "log_marks" not in text  # a row for each process
        and "sum(last)" not in text  # once a second; a row for each reseller
    )
    assert len(statements) > 30
    for statement in statements:
        for *_, step in query(url, f"EXPLAIN QUERY PLAN {statement.replace(':', chr(92) + ':')}"):
            # The others are what a subquery found by an index.
            small = step.startswith(
                ("SCAN CONSTANT", "SCAN lapsed", "SCAN page", "SCAN measured", "SCAN (subquery-")
            )
            small = small or step.endswith("CONSTANT ROWS")  # an INSERT of several
            assert not step.startswith("SCAN") or small, (statement, step)


async def _call_everything(storage: SqlStorage) -> None:
    """Takes every statement on the path of a call, for any state of the rows."""
    await storage.administration.add_reseller(RESELLER, "Reseller", START)
    await storage.access.get_subject(b"token", START)
    first, second, third = [
        await storage.invitations.create_invitation(new(), key(str(number))) for number in range(3)
    ]
    await storage.invitations.create_invitation(new(), key("0"))
    much_later = START + timedelta(days=31)
    await storage.invitations.create_invitation(new("a@example.com"), None)
    await storage.invitations.create_invitation(new("a@example.com", now=much_later), key("0"))
    cursor = Cursor(10)
    for done in (None, True, False):
        await storage.operations.list_operations([RESELLER, "other"], done_is(done), 10, None)
        await storage.operations.list_operations([RESELLER], done_is(done), 10, cursor)
    for order, deleted, after in product((False, True), (False, True), (None, cursor)):
        for filter_ in (
            *(Comparison("state", Comparator.EQUAL, state) for state in CustomerState),
            *(Comparison(name, Comparator.EQUAL, "a") for name in ("externalId", "email")),
            *(None, Present("labels")),
        ):
            wanted = CustomerList(RESELLER, filter_, show_deleted=deleted, oldest_first=order)
            await storage.customers.list_customers(wanted, 10, after)
    await storage.customers.get_customer(first.customer_id)
    for after in (None, cursor):
        await storage.billing_accounts.list_billing_accounts([RESELLER], 10, after)
    await storage.billing_accounts.get_billing_account(first.billing_account_id)
    await storage.waits.wait_operation(first.id, timedelta(0))
    await storage.mail.wait_for_work(START, timedelta(0))
    await storage.operations.cancel_operation(third.id, START, ACTOR, key("cancel"))
    deliveries = await storage.mail.claim_deliveries(10, START, LEASE)
    await storage.operations.cancel_operation(second.id, START, ACTOR, None)
    await asyncio.gather(*(storage.mail.retry_delivery(each, START, START) for each in deliveries))
    deliveries = await storage.mail.claim_deliveries(10, START, LEASE)
    await storage.mail.fail_delivery(deliveries.pop(), CANCELLED, START)
    await asyncio.gather(*(storage.mail.finish_delivery(each, START) for each in deliveries))
    finished = (await storage.operations.list_operations([RESELLER], DONE, 10, None)).rows
    for operation in records(finished):
        await storage.operations.delete_operation(operation.id, START, key(operation.id))
    await _call_everything_about_invitations(storage)
    await invited(storage, much_later + LEASE)
    assert await claimed(storage, much_later + LEASE - LEASE / 2)
    assert not await storage.probe.probe()
    retired = much_later + timedelta(days=100)
    assert await storage.retention.expire_invitations(retired, 10)
    for clear in (
        storage.retention.clear_idempotency_keys,
        storage.retention.clear_operations,
        storage.retention.clear_links,
    ):
        assert await clear(retired, 10), clear
    await storage.access.revoke_token(VerifiedToken(b"revoked", "subject", None, START))
    assert await storage.retention.clear_revoked_tokens(retired, 10)


async def _call_everything_about_invitations(storage: SqlStorage) -> None:
    await invited(storage)
    sent = await claimed(storage)
    await storage.mail.finish_delivery(sent, START)
    cursor = Cursor(10)
    for state, email, after, delivery, order in product(
        (None, *InvitationState),
        (None, "a@example.com"),
        (None, cursor),
        (None, *DeliveryState),
        (False, True),
    ):
        wanted = invitations(state, email, delivery, oldest_first=order)
        await storage.invitations.list_invitations(wanted, START, 10, after)
    of_one = InvitationList(RESELLER, Comparison("customer", Comparator.EQUAL, "bcu"))
    for after in (None, cursor):
        await storage.invitations.list_invitations(of_one, START, 10, after)
    found = await storage.invitations.get_invitation(sent.invitation_id)
    assert found
    customer = await storage.customers.get_customer(found.customer_id)
    assert customer
    operation = resend(customer, resent_by="s", now=START)
    until = START + timedelta(days=30)
    await storage.invitations.resend_invitation(
        found.id, operation, until, timedelta(0), ACTOR, key("resend")
    )
    token_hash = link_token_hash((await claimed(storage)).link_token)
    assert await storage.invitations.look_up_invitation(token_hash)
    assert await storage.invitations.answer_invitation(
        token_hash, InvitationAction.ACCEPT, START, ACTOR, key("accept")
    )
    with pytest.raises(BillingError):
        await storage.invitations.revoke_invitation(found.id, START, ACTOR, key("revoke"))
    await storage.retention.expire_invitations(START, 10)
