"""Databases of earlier releases are brought up to date with all that is in them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import inspect
from sqlalchemy.exc import OperationalError

from server.domain.access import Permission
from server.domain.customers import CustomerState
from server.domain.errors import BillingError
from server.domain.invitations import InvitationAction, InvitationState, link_token_hash
from server.domain.mail import DeliveryState
from server.storage import SchemaError, migrate
from server.storage.check import Finding, check
from server.storage.schema import migrations
from server.storage.schema.tables import REVISION
from server.storage.sql import connections as database
from server.storage.sql.connections import Database
from tests.storage.databases import Databases, query
from tests.storage.old_schemas import (
    LAPSES_AT,
    LAST_WRITTEN,
    LATER_KEY_AT,
    MANY,
    REVISIONS,
    SENT_TOKEN,
    fill,
    upgrade,
)
from tests.storage.records import (
    ACTOR,
    DAY,
    LEASE,
    RESELLER,
    START,
    invitations,
    key,
    new,
    opened,
    records,
)

STRASSE = "info@straße9.example"
KEPT = "resellers", "operations", "customers", "link_tokens", "role_bindings", "access_tokens"


@pytest.fixture(scope="session")
def filled(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Returns the URL of a database with a schema of the past, and data; to be copied."""

    @cache
    def url_of(revision: str) -> str:
        if revision <= LAST_WRITTEN:
            url = databases.empty(f"old_{revision}")
            fill(url, revision)
            return url
        before = url_of(REVISIONS[REVISIONS.index(revision) - 1])
        url = databases.copy(before, tmp_path_factory.mktemp(f"old_{revision}"))
        upgrade(url, revision)
        return url

    return url_of


@pytest.fixture(params=REVISIONS)
def old_url(
    request: pytest.FixtureRequest,
    databases: Databases,
    filled: Callable[[str], str],
    tmp_path: Path,
) -> str:
    """A database with each of the schemas that there have been, and data."""
    folder = tmp_path / "old"
    folder.mkdir()
    return databases.copy(filled(request.param), folder)


def _broken(database_url: str) -> list[Finding]:
    return [found for found in check(database_url) if found.count]


def _counts(database_url: str) -> list[tuple[int, ...]]:
    counts = " UNION ALL ".join(f"SELECT count(*) FROM {name}" for name in KEPT)
    return query(database_url, counts)


def _keys(database_url: str, revision: str) -> set[tuple[bytes, str]]:
    """Returns each idempotency key with the ID of the operation that it stands for."""
    target = "operation_id" if revision < "0004" else "target_id"
    statement = f"SELECT key, {target} FROM idempotency_keys"
    if revision >= "0015":
        id_ = "coalesce(o.id, 'bop' || substr(c.id, 4))"
        joined = "LEFT JOIN customers c ON c.n = o.customer"
        statement = (
            f"SELECT o.key, {id_} FROM operations o {joined} WHERE o.key IS NOT NULL UNION ALL "
            f"SELECT k.key, {id_} FROM idempotency_keys k JOIN operations o ON o.n = k.target {joined}"
        )
    return {(bytes(key_), id_) for key_, id_ in query(database_url, statement)}


async def test_nothing_is_lost_on_the_way_up(old_url: str) -> None:
    ((revision,),) = query(old_url, "SELECT version_num FROM alembic_version")
    before, keys = _counts(old_url), _keys(old_url, revision)
    told: list[tuple[int, int]] = []
    warned: list[str] = []
    migrate(old_url, warned.append, lambda *each: told.append(each))
    assert warned == ([revision] if revision < REVISION else [])
    if revision < "0015":
        assert told == sorted(told)
        assert told[-1] == (2 * MANY + 14, 2 * MANY + 14)
    assert query(old_url, "SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert _counts(old_url) == before
    assert _keys(old_url, REVISION) == keys
    assert _broken(old_url) == []
    async with opened(old_url) as storage:
        lapsed = await storage.invitations.get_invitation("inv-lapsed")
        assert lapsed
        assert lapsed.state is InvitationState.EXPIRED
        assert lapsed.ended_at == LAPSES_AT
        customer = await storage.customers.get_customer("bcu-lapsed")
        assert customer
        assert customer.state is CustomerState.INACTIVE
        assert customer.email == lapsed.email == "STRASSE-lapsed-ẞ@Example.com"
        by_address = (
            await storage.invitations.list_invitations(
                invitations(InvitationState.PENDING, "strasse-SENT-ß@example.com"), START, 10, None
            )
        ).rows
        assert [each.id for each in records(by_address)] == ["inv-sent"]
        (was_sent,) = records(by_address)
        assert was_sent.delivery
        assert was_sent.delivery.state is DeliveryState.SENT
        assert lapsed.delivery is None or lapsed.delivery.state is DeliveryState.SENT
        own = await storage.invitations.get_invitation("inv-own")
        assert own
        assert (own.id, own.customer_id, own.operation_id) == ("inv-own", "bcu-other", "bop-own")
        made_by = await storage.operations.get_operation("bop-own")
        assert made_by
        assert (made_by.id, made_by.customer_id) == ("bop-own", "bcu-other")
        assert made_by.billing_account_id == "bac-other"
        for unknown in ("bop-other", "inv-other"):
            assert await storage.operations.get_operation(unknown) is None
            assert await storage.invitations.get_invitation(unknown) is None
        failed = await storage.operations.get_operation("bop-failed")
        assert failed
        assert failed.failure
        assert failed.failure.metadata == {"attempts": "12"}
        subject = await storage.access.get_subject(b"token", START)
        assert subject
        assert subject.resellers(Permission.WRITE) == [RESELLER]
    keyed = (
        "SELECT c.id, keyed_at FROM operations o JOIN customers c ON c.n = o.n "
        "WHERE keyed_at IS NOT NULL"
    )
    assert query(old_url, keyed) == [("bcu-served", LATER_KEY_AT)]


@pytest.mark.parametrize("old_url", [each for each in REVISIONS if each < "0006"], indirect=True)
async def test_domains_once_taken_for_one_are_two_on_the_way_up(old_url: str) -> None:
    """One database has only the address in it that the other was taken for."""
    for table, name in ("invitations", "inv-sent"), ("customers", "bcu-sent"):
        if table == "invitations" or "email" in _columns(old_url, table):
            query(
                old_url, f"UPDATE {table} SET email = :email WHERE id = :id", id=name, email=STRASSE
            )
    migrate(old_url)
    assert _broken(old_url) == []
    async with opened(old_url) as storage:
        page = invitations(InvitationState.PENDING, "INFO@Straße9.example"), START, 10, None
        found = records((await storage.invitations.list_invitations(*page)).rows)
        assert [each.id for each in found] == ["inv-sent"]
        with pytest.raises(BillingError, match="open invitation"):
            await storage.invitations.create_invitation(new(STRASSE), None)
        await storage.invitations.create_invitation(new("info@strasse9.example"), None)


def _columns(database_url: str, table: str) -> set[str]:
    inspector = inspect(Database(database_url).engine)
    return {column["name"] for column in inspector.get_columns(table)}


async def test_e_mails_go_out_after_a_migration(old_url: str) -> None:
    migrate(old_url)
    async with opened(old_url) as storage:
        repeated = await storage.invitations.create_invitation(new(), key("sent"))
        assert repeated == await storage.operations.get_operation("bop-sent")
        assert await storage.operations.delete_operation("bop-served", START, key("later"))
        (delivery,) = await storage.mail.claim_deliveries(10, START, LEASE)
        assert delivery.operation_id == "bop-due"
        assert await storage.mail.finish_delivery(delivery, START)
        (taken_over,) = await storage.mail.claim_deliveries(10, START + LEASE, LEASE)
        assert (taken_over.operation_id, taken_over.attempt) == ("bop-held", 4)
        link = link_token_hash(SENT_TOKEN)
        accepted = await storage.invitations.answer_invitation(
            link, InvitationAction.ACCEPT, START, ACTOR, None
        )
        assert accepted
        assert accepted.id == "inv-sent"
        assert await storage.retention.expire_invitations(LAPSES_AT, 10) == 10
        long_after = LAPSES_AT + 30 * DAY
        assert await storage.retention.clear_operations(long_after, 10) == 0
        assert await storage.retention.clear_idempotency_keys(long_after, 2 * MANY) == MANY + 10
        assert await storage.retention.clear_operations(long_after, 10) == 10
        assert await storage.retention.clear_links(long_after, 10) == 10
    assert _broken(old_url) == []


def test_a_schema_of_a_newer_release_is_left_alone(database_url: str) -> None:
    query(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="9999") as refused:
        migrate(database_url)
    assert "\n" not in str(refused.value)
    assert query(database_url, "SELECT version_num FROM alembic_version") == [("9999",)]


@contextmanager
def _migrating_elsewhere(database_url: str, *, no_timeout: bool = False) -> Iterator[None]:
    """Holds what keeps migrations apart."""
    holder = Database(database_url, no_timeout=no_timeout)
    with holder.engine.begin() as connection:
        if not holder.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({migrations._LOCK})")
        yield


def test_it_waits_for_another_longer_than_any_call_would(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.empty("awaited")
    migrate(url)
    monkeypatch.setattr(database, "TIMEOUT_S", 1)
    waiting = threading.Thread(target=migrate, args=[url])
    with _migrating_elsewhere(url, no_timeout=True):
        waiting.start()
        for _ in range(2):
            with pytest.raises(OperationalError), _migrating_elsewhere(url):
                pass
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


def _environment(database_url: str, folder: Path) -> dict[str, str]:
    return {**os.environ, "BILLING_DATABASE_URL": database_url, "BILLING_VAR": str(folder)}


def _start(database_url: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "server", *words],
        env=_environment(database_url, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_commands_that_migrate_at_once_do_not_collide(databases: Databases, tmp_path: Path) -> None:
    url = databases.empty("contended")
    fill(url, REVISIONS[0])
    commands = [_start(url, tmp_path, "migrate") for _ in range(3)]
    errors = [each.communicate()[1] for each in commands]
    assert [each.returncode for each in commands] == [0] * 3, errors
    assert query(url, "SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert _broken(url) == []


def test_a_log_tells_of_the_backup_first_and_then_how_far_it_is(
    databases: Databases, tmp_path: Path
) -> None:
    url = databases.empty("told")
    fill(url, "0014")
    process = _start(url, tmp_path, "migrate")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    first, *steps, last = errors.splitlines()
    assert last == "The database's schema is up to date."
    assert "0014" in first
    assert "only way back is to restore a backup" in first
    total = f"{2 * MANY + 14:,}"
    assert steps
    assert steps[-1] == f"copying rows: {total} of {total}"


# Migrates; before the statement of a number, or at the commit, it says so and stands still. Says in the
# end how many statements there were.
_STANDING_STILL = """
import sys
from sqlalchemy import Engine, event
from server.storage import migrate

url, point = sys.argv[1:]
statements = 0

def stand_still():
    print("here", flush=True)
    sys.stdin.read()

@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global statements
    statements += 1
    if str(statements) == point:
        stand_still()

if point == "commit":
    event.listen(Engine, "commit", lambda _: stand_still())
migrate(url)
print(statements, flush=True)
"""


def _migrated_up_to(database_url: str, point: str) -> str:
    """Kills a migration at a point; returns what it said."""
    command = [sys.executable, "-c", _STANDING_STILL, database_url, point]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        said = process.stdout.readline().strip()
        process.kill()
        return said


@pytest.mark.parametrize("old_url", ["0014"], indirect=True)
def test_killed_anywhere_it_has_changed_nothing(
    old_url: str, databases: Databases, tmp_path: Path
) -> None:
    before, keys = _counts(old_url), _keys(old_url, "0014")
    statements = int(_migrated_up_to(databases.copy(old_url, tmp_path), "never"))
    assert statements > 50
    for point in (statements // 3, statements * 2 // 3, statements, "commit"):
        assert _migrated_up_to(old_url, str(point)) == "here"
        assert query(old_url, "SELECT version_num FROM alembic_version") == [("0014",)]
        assert (_counts(old_url), _keys(old_url, "0014")) == (before, keys)
    migrate(old_url)
    assert query(old_url, "SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert (_counts(old_url), _keys(old_url, REVISION)) == (before, keys)
    assert _broken(old_url) == []


def test_servers_that_start_at_once_do_not_collide(database_url: str, tmp_path: Path) -> None:
    """While a third process finds that there is nothing to migrate."""
    addresses = [f"unix:{tmp_path}/{number}.sock" for number in range(2)]
    with ExitStack() as stack:
        servers = [
            _start(database_url, tmp_path, "serve", "--dev", "--listen", each) for each in addresses
        ]
        for each in servers:
            stack.callback(each.kill)
        migration = _start(database_url, tmp_path, "migrate")
        for address in addresses:
            with grpc.insecure_channel(address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = stub.Check(
                    health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60
                )
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        errors = migration.communicate(timeout=60)[1]
        assert migration.returncode == 0, errors
        for each in servers:
            each.send_signal(signal.SIGINT)
        outputs = [each.communicate(timeout=60)[1] for each in servers]
        assert [each.returncode for each in servers] == [0, 0], outputs
    assert _broken(database_url) == []


@pytest.mark.parametrize(
    ("command", "schema"),
    [
        ("serve", "none"),
        ("serve", "older"),
        ("serve", "newer"),
        ("worker", "older"),
        ("check", "older"),
        ("migrate", "newer"),
    ],
)
def test_a_command_says_in_one_line_that_it_can_not_use_the_schema(
    databases: Databases, tmp_path: Path, command: str, schema: str
) -> None:
    url = databases.empty(f"{command}_{schema}")
    if schema == "older":
        upgrade(url, REVISIONS[-2])
    elif schema == "newer":
        migrate(url)
        query(url, "UPDATE alembic_version SET version_num = '9999'")
    words = [command, "--dev"] if command in ("serve", "worker") else [command]
    process = _start(url, tmp_path, *words)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert "9999" in line if schema == "newer" else "billing-server migrate" in line
