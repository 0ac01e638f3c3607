"""A worker process that is killed when a receiver has taken an event, before that is recorded."""

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from server.storage.interface import Storage
from server.storage.storage import SqlStorage
from tests.clock import Clock
from tests.storage.webhooks.records import add_webhook, happen
from tests.worker.harness import RESELLER_ID
from tests.worker.webhooks.delivering import Receiver, delivering
from tests.worker.webhooks.receivers import receiving

# Dies when it has its third answer.
DOOMED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime, timedelta
from server.storage import open_storage
from server.worker.webhooks.sender import Sender
from tests.worker.webhooks.delivering import delivering

answers = []
post = Sender.post

async def doomed(self, *arguments):
    answers.append(await post(self, *arguments))
    if len(answers) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return answers[-1]

async def main(database):
    Sender.post = doomed
    storage = await open_storage(database, idempotency_lifetime=timedelta(days=2))
    async with delivering(storage, lambda: datetime.now(UTC)):
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_all_arrives_in_order_with_the_same_ids(storage: Storage, database: str) -> None:
    sql = cast("SqlStorage", storage)
    clock = Clock(datetime.now(UTC))
    receiver = Receiver()
    async with receiving(receiver.take) as url:
        await add_webhook(sql, "whk1", url, reseller_id=RESELLER_ID, now=clock())
        await happen(sql, *([7, 8] * 10), reseller_id=RESELLER_ID, now=clock())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DOOMED, database),
            cwd=Path(__file__).parents[3],
            stderr=subprocess.PIPE,
        )
        _, stderr = await process.communicate()
        assert process.returncode == -signal.SIGKILL, stderr.decode()
        before = len(receiver.got)
        assert 3 <= before < 20
        clock.advance(timedelta(minutes=2))  # the dead worker's leases are over
        async with delivering(sql, clock):
            while len(set(receiver.numbers)) < 20:
                await receiver.until(len(receiver.got) + 1)
    for customer in (0, 1):
        came = [number for number in receiver.numbers if number % 2 == customer]
        firsts = list(dict.fromkeys(came))
        assert firsts == sorted(firsts)
        assert len(firsts) == 10
    ids = {(headers["webhook-id"], body) for headers, body in receiver.got}
    assert len(ids) == 20
    assert len(receiver.got) > 20
