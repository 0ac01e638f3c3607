"""A SQLite file that is deleted or replaced under a running process: nothing is acknowledged."""

import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from server.domain.errors import BillingError, Reason
from server.storage import SchemaError, migrate
from server.storage.backup import copy_database
from server.storage.check import check
from server.storage.sql import seen_position
from server.storage.sql.seen_position import seen_file
from server.storage.storage import SqlStorage
from tests.storage.databases import on_sqlite, query
from tests.storage.records import add_reseller, invited, opened

pytestmark = on_sqlite


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(str(make_url(database_url).database))


def _other(file: Path) -> Path:
    """Makes another database."""
    other = file.with_name("other.db")
    migrate(f"sqlite:///{other}")
    return other


def _delete(file: Path) -> None:
    file.unlink()


def _delete_all(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{file}{end}").unlink()


def _delete_log(file: Path) -> None:
    Path(f"{file}-wal").unlink()


def _replace(file: Path) -> None:
    _other(file).replace(file)


def _move(file: Path) -> None:
    file.rename(file.with_name("moved.db"))


def _move_back(file: Path) -> None:
    file.with_name("moved.db").rename(file)


def _write_over(file: Path) -> None:
    shutil.copyfile(_other(file), file)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [
        *(_delete, _delete_all, _delete_log, _replace, _move),
        *(_write_over, _empty),
    ],
)
async def test_calls_are_refused_at_once(
    storage: SqlStorage, file: Path, harm: Callable[[Path], None]
) -> None:
    known = await invited(storage)
    harm(file)
    for _ in range(2):
        with pytest.raises(BillingError) as refused:
            await invited(storage)
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        with pytest.raises(BillingError) as refused:
            await storage.operations.get_operation(known.id)
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert await storage.probe.probe() != ""


async def test_a_probe_notices_for_those_who_only_read(storage: SqlStorage, file: Path) -> None:
    known = await invited(storage)
    _replace(file)
    assert "replaced" in await storage.probe.probe()
    with pytest.raises(BillingError):
        await storage.operations.get_operation(known.id)


async def test_another_process_that_ends_leaves_the_log(storage: SqlStorage, file: Path) -> None:
    """Whoever closes the last connection deletes the log, so all must know of one another."""
    known = await invited(storage)
    reads = (
        f"import sqlite3; c = sqlite3.connect({str(file)!r}); print(*c.execute({{!r}}), c.close())"
    )
    for statement in ("PRAGMA wal_checkpoint(PASSIVE)", "SELECT count(*) FROM operations"):
        # The file's time has changed by the second look, which reads it.
        other = await asyncio.create_subprocess_exec(sys.executable, "-c", reads.format(statement))
        assert await other.wait() == 0
        assert await storage.operations.get_operation(known.id)
    await invited(storage)
    assert await storage.probe.probe() == ""


async def test_an_older_copy_over_the_file_is_noticed(
    storage: SqlStorage, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_position, "_ADVANCE_EVERY_S", 0.0)
    await invited(storage)
    older = file.with_name("older.db")
    copy_database(f"sqlite:///{file}", older)
    known = await invited(storage)
    # From now on the file has what the copy lacks, and the log has it no longer.
    query(f"sqlite:///{file}", "PRAGMA wal_checkpoint(PASSIVE)")
    await invited(storage)
    shutil.copyfile(older, file)
    with pytest.raises(BillingError):
        await invited(storage)
    with pytest.raises(BillingError):
        await storage.operations.get_operation(known.id)
    assert "replaced" in await storage.probe.probe()


async def test_another_database_gets_nothing_that_was_not_meant_for_it(
    storage: SqlStorage, file: Path
) -> None:
    await invited(storage)
    other = _other(file)
    # A log that stays would be the other's as well.
    _delete_all(file)
    other.replace(file)
    for _ in range(3):
        with pytest.raises(BillingError):
            await invited(storage)
    assert query(f"sqlite:///{file}", "SELECT count(*) FROM operations") == [(0,)]


async def test_put_back_all_goes_on(storage: SqlStorage, file: Path) -> None:
    known = await invited(storage)
    _move(file)
    with pytest.raises(BillingError):
        await invited(storage)
    _move_back(file)
    assert await storage.probe.probe() == ""
    again = await invited(storage)
    for each in (known, again):
        assert await storage.operations.get_operation(each.id)


class TestWhatWasSeen:
    async def test_an_older_copy_and_an_empty_one_are_refused(
        self, database_url: str, file: Path, tmp_path: Path
    ) -> None:
        add_reseller(database_url)
        async with opened(database_url) as storage:
            await invited(storage)
        older = shutil.copy(file, tmp_path / "older.db")
        async with opened(database_url) as storage:
            await invited(storage)
        assert not [each for each in check(database_url) if each.count]
        for wrong in (older, _other(file)):
            shutil.copy(wrong, file)
            with pytest.raises(SchemaError, match="has gone back"):
                check(database_url)
        seen_file(file).unlink()
        assert not [each for each in check(database_url) if each.count]

    async def test_a_process_that_was_killed_had_noted_it(
        self, storage: SqlStorage, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seen_position, "_ADVANCE_EVERY_S", 0.0)
        await invited(storage)
        # What writes is done with a batch once it takes up the next one.
        await storage.retention.clear_counts((await invited(storage)).created_at, 1)
        assert int(seen_file(file).read_text()) > 0
        assert seen_file(file).stat().st_mode & 0o077 == 0
