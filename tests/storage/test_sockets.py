"""Signals between processes on one SQLite file."""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.storage import migrate
from server.storage.sql.transactions import Notice
from server.storage.storage import SqlStorage
from tests.storage.records import ACTOR, RESELLER, START, invited, opened

_HOLD_SOCKET = (
    "import socket, sys, time\n"
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "s.bind(sys.argv[1])\n"
    "print(flush=True)\n"
    "time.sleep(1000)"
)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqlStorage]:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    async with opened(url) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        yield storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "billing.db-signals"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_sockets_of_the_dead_are_removed(storage: SqlStorage, folder: Path) -> None:
    ours = _names(folder)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD_SOCKET, folder / "dead", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout
    await child.stdout.readline()
    await invited(storage)
    assert _names(folder) == ours | {"dead"}
    child.kill()
    await child.communicate()
    await invited(storage)
    assert _names(folder) == ours


async def test_who_does_not_listen_holds_no_one_up(storage: SqlStorage, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(folder / "deaf"))
        for _ in range(2000):
            storage._notifier.publish(Notice(("x" * 100,), has_work=True))
        await invited(storage)
        assert "deaf" in _names(folder)


async def test_a_path_too_long_for_sockets_is_no_hindrance(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    url = f"sqlite:///{long / 'billing.db'}"
    migrate(url)
    async with opened(url) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        given = await invited(storage)
        await storage.operations.cancel_operation(given.id, START, ACTOR, None)
    assert "a second late" in caplog.text


async def test_a_closed_storage_leaves_no_socket_behind(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'billing.db'}"
    migrate(url)
    async with opened(url) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        await invited(storage)
    assert _names(tmp_path / "billing.db-signals") == set()


async def test_a_folder_that_is_gone_holds_nobody_up(
    storage: SqlStorage, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = storage._notifier.transport
    assert transport
    shutil.rmtree(folder)
    transport.send("work")
    await invited(storage)
    assert not caplog.records
