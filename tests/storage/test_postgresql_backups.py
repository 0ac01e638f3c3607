"""What docs/ shows of backing up PostgreSQL, and of going back to a moment, run as it stands."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.storage import migrate
from server.storage.check import check
from tests.chaos.postgres import Postgres, postgres
from tests.docs.pages import command_folder
from tests.storage.databases import query
from tests.storage.records import RESELLER, START, invited, opened

SCRIPTS = Path(__file__).parent / "postgresql"


@pytest.fixture
def server() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with postgres(folder) as running:
        # What its own start gives it, for the programs of the page.
        running.run(f"ALTER SYSTEM SET unix_socket_directories = '{folder}'")
        running.run("ALTER SYSTEM SET listen_addresses = ''")
        migrate(running.url)
        yield running


class Operator:
    """Runs the page's scripts, as its readers do, in a folder of backups."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self._server = server
        self.backups = server.data.parent / "backups"
        self.backups.mkdir()
        self.backups.chmod(0o777)  # the server writes to it, and is another user's
        self.keys = folder / "keys"
        self._path = f"{server.programs}:{command_folder(folder)}:{os.environ['PATH']}"

    def run(self, script: str, *, as_server: bool = False, **variables: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", SCRIPTS / script],
            cwd=self.backups,
            env={
                "PATH": self._path,
                "BACKUPS": str(self.backups),
                "BILLING_DATABASE_URL": self._server.url,
                "BILLING_VAR": str(self.keys.parent),
                "BILLING_KEYS": str(self.keys),
                **variables,
            },
            user=self._server.user if as_server else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()


@pytest.fixture
def operator(server: Postgres, tmp_path: Path) -> Operator:
    return Operator(server, tmp_path)


async def invite(server: Postgres, count: int) -> None:
    async with opened(server.url) as storage:
        await storage.administration.add_reseller(RESELLER, "A reseller", START)
        for _ in range(count):
            await invited(storage)


def customers(server: Postgres) -> int:
    ((count,),) = query(server.url, "SELECT count(*) FROM customers")
    return int(count)


async def test_a_dump_and_its_keys_come_back(server: Postgres, operator: Operator) -> None:
    await invite(server, 3)
    key = operator.keys / "iam" / "one.pem"
    key.parent.mkdir(parents=True)
    key.write_text("a key")
    operator.run("backup.sh")
    await invite(server, 1)
    shutil.rmtree(operator.keys)
    server.run("DROP SCHEMA public CASCADE")
    server.run("CREATE SCHEMA public")
    operator.run("restore.sh")  # which ends with `check`
    assert customers(server) == 3
    assert key.read_text() == "a key"


@contextmanager
def recovered(server: Postgres, operator: Operator, when: str) -> Iterator[None]:
    """Puts the database of a moment in place of the server's while the block runs."""
    lost = server.data.rename(server.data.parent / "lost")
    try:
        operator.run("recover.sh", as_server=True, WHEN=when, PGDATA=str(server.data))
        yield
    finally:
        stop = [str(server.programs / "pg_ctl"), "-D", str(server.data), "-m", "fast", "stop"]
        subprocess.run(stop, user=server.user, capture_output=True, check=False)
        shutil.rmtree(lost)


async def test_the_database_goes_back_to_a_moment(server: Postgres, operator: Operator) -> None:
    operator.run("archive.sh", as_server=True)
    server.stop()
    server.start()
    await invite(server, 2)
    operator.run("base_backup.sh", as_server=True)
    await invite(server, 3)
    ((when,),) = query(server.url, "SELECT now()::text")
    await invite(server, 4)
    server.stop()  # which archives what there is
    with recovered(server, operator, when):
        assert customers(server) == 5
        await invite(server, 1)
        ((name,),) = query(server.url, "SELECT pg_walfile_name(pg_switch_wal())")
        assert name.startswith("00000002")  # archived on a timeline of its own
        assert [each for each in check(server.url) if each.count] == []
