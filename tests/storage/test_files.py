"""A SQLite database is its owner's alone, whatever the umask and whatever it was before."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.storage import migrate
from tests.storage.records import add_reseller, invited, opened


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def _open_to_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o777)


async def test_database_log_and_sockets_are_closed_to_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    add_reseller(url)
    async with opened(url) as first:
        await invited(first)
        _open_to_all(tmp_path)
        async with opened(url):
            modes = _modes(tmp_path)
            assert {"billing.db", "billing.db-wal", "billing.db-shm"} < set(modes)
            assert modes.pop("billing.db-signals") == 0o700
            assert [mode for mode in modes.values() if mode & 0o077] == []


async def test_files_are_created_closed_to_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    add_reseller(url)
    assert set(_modes(tmp_path).values()) == {0o600}
    async with opened(url) as storage:
        await invited(storage)
        modes = _modes(tmp_path)
        assert modes.pop("billing.db-signals") == 0o700
        assert set(modes.values()) == {0o600}
