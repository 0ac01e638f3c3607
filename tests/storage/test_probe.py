"""Whether the database can be used is told without the calls' help."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from server.domain.errors import BillingError, Reason
from server.storage import probe
from server.storage.sql.connections import Database
from server.storage.storage import SqlStorage
from tests.storage.databases import Databases, on_postgresql, on_sqlite, query
from tests.storage.records import invited
from tests.storage.test_faults import CUT


async def test_a_database_that_can_be_written_to_has_no_problem(storage: SqlStorage) -> None:
    assert [await storage.probe.probe() for _ in range(3)] == ["", "", ""]


async def test_who_writes_for_a_moment_is_no_problem(
    storage: SqlStorage, database_url: str
) -> None:
    before = query(database_url, "SELECT count(*) FROM resellers")
    assert await storage.probe.probe() == ""
    assert query(database_url, "SELECT count(*) FROM resellers") == before


@on_postgresql
async def test_a_read_only_database_is_told_and_a_cut_connection_made_anew(
    storage: SqlStorage, database_url: str
) -> None:
    assert await storage.probe.probe() == ""
    name = Database(database_url).url.database
    query(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    query(database_url, CUT)
    assert "reached" in await storage.probe.probe()
    assert await storage.probe.probe() == "the database is read-only"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    query(database_url, CUT)
    await storage.probe.probe()
    assert await storage.probe.probe() == ""


@on_sqlite
async def test_a_file_that_is_gone_or_replaced_is_told(
    storage: SqlStorage, database_url: str, tmp_path: Path
) -> None:
    assert await storage.probe.probe() == ""
    file = Path(str(Database(database_url).url.database))
    kept = tmp_path / "kept"
    os.rename(file, kept)  # noqa: PTH104
    assert await storage.probe.probe() == "the database's file is gone"
    shutil.copy(kept, file)
    assert "was replaced" in await storage.probe.probe()
    os.rename(kept, file)  # noqa: PTH104
    assert await storage.probe.probe() == ""


@on_sqlite
async def test_a_file_that_may_not_be_written_to_is_told(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _file, _mode: False)  # root may write all the same
    assert await storage.probe.probe() == "the database is read-only"


@on_sqlite
async def test_a_disk_without_room_is_told(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(probe, "LEAST_ROOM_BYTES", 1 << 62)
        assert "its disk is full" in await storage.probe.probe()
    assert await storage.probe.probe() == ""


@on_postgresql
async def test_a_full_disk_is_told_until_there_is_room(
    storage: SqlStorage, database_url: str
) -> None:
    full = "BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END"
    for returns in ("trigger", "event_trigger"):
        query(
            database_url,
            f"CREATE FUNCTION full_{returns}() RETURNS {returns} AS '{_quoted(full)}' LANGUAGE plpgsql",
        )
    query(
        database_url,
        "CREATE TRIGGER full_disk BEFORE INSERT ON operations EXECUTE FUNCTION full_trigger()",
    )
    query(
        database_url,
        "CREATE EVENT TRIGGER full_disk ON ddl_command_start EXECUTE FUNCTION full_event_trigger()",
    )
    assert await storage.probe.probe() == ""
    with pytest.raises(BillingError) as refused:
        await invited(storage)
    assert refused.value.reason is Reason.STORAGE_FULL
    for _ in range(2):
        assert "its disk is full" in await storage.probe.probe()
    query(database_url, "DROP EVENT TRIGGER full_disk")
    assert await storage.probe.probe() == ""
    query(database_url, "DROP TRIGGER full_disk ON operations")
    await invited(storage)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


async def test_all_go_by_the_clock_of_the_database(
    storage: SqlStorage, databases: Databases
) -> None:
    """Only where this machine's is off; on SQLite there is no other."""
    off = timedelta(minutes=1)
    for local in (datetime.now(UTC), datetime.now(UTC) + off):
        assert storage.clock.agreed(local) == local
    assert await storage.probe.probe() == ""
    local = datetime.now(UTC)
    assert storage.clock.agreed(local) == local
    for wrong in (local + off, local - off):
        found = storage.clock.agreed(wrong)
        if databases.kind == "sqlite":
            assert found == wrong
        else:
            assert abs(found - datetime.now(UTC)) < off / 2
