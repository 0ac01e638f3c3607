from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.storage.check.consistency import check
from server.storage.storage import SqlStorage
from tests.storage.databases import Databases, postgres_server
from tests.storage.overlap import Overlap, overlapping
from tests.storage.reading import RowsRead, explained
from tests.storage.records import RESELLER, SECOND_RESELLER, START, opened


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    return Databases("sqlite", tmp_path_factory.mktemp("sqlite"), None)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with postgres_server() as url:
        databases = Databases("postgresql", tmp_path_factory.mktemp("postgresql"), url)
        yield databases
        databases.drop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each in turn; PostgreSQL runs on while tests on SQLite have theirs."""
    found: Databases = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def database_url(databases: Databases, tmp_path: Path) -> str:
    """A fresh database with the schema."""
    return databases.migrated(tmp_path)


@pytest.fixture
def consistent(database_url: str) -> Iterator[None]:
    """Whatever was done, the database agrees with itself: for tests that name it."""
    yield
    assert [finding for finding in check(database_url) if finding.count] == []


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[SqlStorage]:
    """The storage on `database_url`, with two resellers."""
    async with opened(database_url) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        await storage.administration.add_reseller(SECOND_RESELLER, "Second reseller", START)
        yield storage


@pytest.fixture
async def other_process(storage: SqlStorage, database_url: str) -> AsyncIterator[SqlStorage]:
    """Another storage on the same database, which shares nothing else with `storage`."""
    async with opened(database_url) as other:
        yield other


@pytest.fixture
async def overlap(storage: SqlStorage, database_url: str) -> AsyncIterator[Overlap]:
    """Two more processes on the same database, whose transactions overlap as the test says."""
    async with overlapping(database_url) as overlap:
        yield overlap


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[RowsRead]:
    """On PostgreSQL: awaits a call, and returns how many rows its statements have read."""
    with explained(monkeypatch) as rows_read:
        yield rows_read
