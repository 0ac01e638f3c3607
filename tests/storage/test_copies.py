"""A SQLite database that was copied without its log is told from a whole one."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from server.storage import SchemaError
from server.storage.check import check
from server.storage.sql import log_marks
from server.storage.storage import SqlStorage
from tests.storage.databases import on_sqlite, query
from tests.storage.records import START, invited, opened

pytestmark = on_sqlite
CUSTOMERS = "SELECT count(*) FROM customers"
_LONG_AGO = START
_NEVER = 10**9


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(str(make_url(database_url).database))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def _has_log(copy: Path) -> bool:
    return Path(f"{copy}-wal").exists()


def _sound(copy: Path) -> int:
    """Returns how many customers the sound copy has."""
    url = f"sqlite:///{copy}"
    assert not [each for each in check(url) if each.count]
    ((number,),) = query(url, CUSTOMERS)
    return int(number)


@pytest.mark.parametrize("pages", [log_marks._PAGES, 1, 100])
async def test_a_copy_without_its_log_is_refused(
    storage: SqlStorage, file: Path, copy: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the last checkpoint was long ago or a moment."""
    for number in range(20):
        monkeypatch.setattr(log_marks, "_PAGES", pages)
        await invited(storage)
        # What writes is done with a batch once it takes up the next one.
        await storage.retention.clear_counts(_LONG_AGO, 1)
        monkeypatch.setattr(log_marks, "_PAGES", _NEVER)
        for _ in range(2):
            await storage.retention.clear_counts(_LONG_AGO, 1)
        shutil.copyfile(file, copy)
        with pytest.raises(SchemaError, match=r"without its log.*\.backup"):
            check(f"sqlite:///{copy}")
        with pytest.raises(SchemaError, match="without its log"):
            async with opened(f"sqlite:///{copy}"):
                pass
        # The one in use is whole, and so are copies made as SQLite makes them.
        assert _sound(file) == number + 1
    for statement in (f"VACUUM INTO '{copy}.vacuumed'", ""):
        with closing(sqlite3.connect(file)) as live, closing(sqlite3.connect(copy)) as target:
            if statement:
                live.execute(statement)
            else:
                live.backup(target)
    assert _sound(copy) == 20
    assert _sound(Path(f"{copy}.vacuumed")) == 20


async def test_a_copy_of_a_killed_database_is_whole_with_its_log(
    storage: SqlStorage, file: Path, copy: Path
) -> None:
    for _ in range(3):
        await invited(storage)
    for end in ("", "-wal"):
        shutil.copyfile(f"{file}{end}", f"{copy}{end}")
    # Opening it, also with another program, brings the log into the file.
    with closing(sqlite3.connect(copy)) as other:
        assert other.execute(CUSTOMERS).fetchone() == (3,)
    assert _sound(copy) == 3
    assert not _has_log(copy)


async def test_a_copy_of_a_closed_database_needs_no_log(
    database_url: str, file: Path, copy: Path
) -> None:
    async with opened(database_url) as first:
        await first.administration.add_reseller("reseller-1", "Reseller", _LONG_AGO)
        async with opened(database_url) as second:
            await invited(second)
        await invited(first)
    shutil.copyfile(file, copy)
    assert _sound(copy) == 2
    assert query(database_url, "SELECT count(*) FROM log_marks") == [(0,)]
