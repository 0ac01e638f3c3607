"""What was acknowledged is there, whatever kills the process or the machine."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from server.storage.sql.connections import Database
from server.storage.sql.statements import Query, Transaction
from server.storage.storage import SqlStorage
from tests.storage.databases import on_postgresql, query
from tests.storage.records import opened

# Invites as fast as it can and prints what was acknowledged.
_CHILD = """
import asyncio, sys
from tests.storage.records import RESELLER, START, invited, opened

async def main():
    async with opened(sys.argv[1]) as storage:
        await storage.administration.add_reseller(RESELLER, "Reseller", START)
        async def invite():
            while True:
                print((await invited(storage)).id, flush=True)
        await asyncio.gather(*(invite() for _ in range(20)))

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_acknowledged(database_url: str) -> None:
    acknowledged: list[str] = []
    for wanted in (1, 50, 500):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, database_url, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout
        lines = [await child.stdout.readline() for _ in range(wanted)]
        child.kill()
        lines += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
        acknowledged += [line.decode().strip() for line in lines if line.endswith(b"\n")]
    assert len(acknowledged) >= 551
    stored = {
        id_
        for (id_,) in query(
            database_url,
            "SELECT 'bop' || substr(c.id, 4) FROM operations o JOIN customers c ON c.n = o.n "
            "WHERE o.id IS NULL AND c.invitation = 1",
        )
    }
    assert set(acknowledged) <= stored
    # Nor is anything there by halves.
    for table in ("operations", "customers"):
        assert query(database_url, f"SELECT count(*) FROM {table}") == [(len(stored),)]


# What a connection must answer so that a commit is sound, and on disk before it returns. 2 is FULL.
_DURABLE: dict[str, dict[str, Any]] = {
    "sqlite": {
        "PRAGMA synchronous": 2,
        "PRAGMA journal_mode": "wal",
        "PRAGMA foreign_keys": 1,
    },
    "postgresql": {"SHOW synchronous_commit": "on"},
}


class _Answer(NamedTuple):
    value: Any


async def _answers(storage: SqlStorage, questions: Sequence[str]) -> list[dict[str, Any]]:
    """Returns what each connection in use for writes answers."""

    def ask(transaction: Transaction, batch: Sequence[None]) -> list[dict[str, Any]]:
        answers = {
            each: transaction.fetch(Query(_Answer, text(each)))[0].value for each in questions
        }
        return [answers] * len(batch)

    batchers = {storage._writes, storage._sweeps}
    return [await batcher.submit(ask, None) for batcher in batchers]


async def test_commits_reach_the_disk_before_they_return(
    storage: SqlStorage, database_url: str
) -> None:
    durable = _DURABLE[database_url.partition(":")[0]]
    for answers in await _answers(storage, list(durable)):
        assert answers == durable


@on_postgresql
async def test_commits_reach_the_disk_whatever_the_databases_own_setting(database_url: str) -> None:
    name = Database(database_url).url.database
    query(database_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    durable = _DURABLE["postgresql"]
    async with opened(database_url) as storage:
        assert await _answers(storage, list(durable)) == [durable, durable]
