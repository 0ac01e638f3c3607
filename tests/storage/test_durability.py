"""What was acknowledged is there, whatever kills the process."""

import asyncio
import sys

from tests.storage.databases import query

# Invites as fast as it can and prints what was acknowledged.
_CHILD = """
import asyncio, sys
from tests.storage.records import invited, opened

async def main():
    async with opened(sys.argv[1]) as storage:
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
            "SELECT o.id FROM operations o JOIN customers c ON c.id = o.customer_id "
            "JOIN invitations i ON i.id = o.invitation_id AND i.customer_id = c.id",
        )
    }
    assert set(acknowledged) <= stored
    # Nor is anything there by halves.
    for table in ("operations", "customers", "invitations"):
        assert query(database_url, f"SELECT count(*) FROM {table}") == [(len(stored),)]
