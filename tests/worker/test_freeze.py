"""A worker process that stands still in the middle of an e-mail until another has taken over."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from server.storage.interface import Storage
from tests.clock import Clock
from tests.storage.records import until
from tests.worker.harness import at_work, ended, invited, make_worker
from tests.worker.mail_server import MailServer

# How long the one that is frozen may try.
TRIES_S = 1.0
FROZEN = f"""
import asyncio, sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from server.storage import open_storage
from tests.worker.harness import SETTINGS, make_worker

async def main(database, url):
    storage = await open_storage(database, idempotency_lifetime=timedelta(days=2))
    settings = replace(SETTINGS, attempt_within=timedelta(seconds={TRIES_S}))
    await make_worker(storage, url, lambda: datetime.now(UTC), settings).run()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "sent"), [("MAIL", 1), ("RCPT", 1), ("DATA", 2)], ids=["MAIL", "RCPT", "DATA"]
)
async def test_who_has_been_overtaken_sends_no_more_and_records_nothing(
    storage: Storage, database: str, mail_server: MailServer, command: str, sent: int
) -> None:
    """Of what the mail server had before, it gets a second one with the same Message-ID."""
    clock = Clock(datetime.now(UTC))
    operation = await invited(storage, at=clock())
    gate = mail_server.gates[command] = asyncio.Event()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FROZEN, database, mail_server.url),
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
    )
    try:
        await mail_server.until(1, command)
        await _freeze(process.pid, database)
        frozen_at = time.monotonic()
        del mail_server.gates[command]
        gate.set()  # the answer lies there when it wakes
        clock.advance(timedelta(minutes=2))  # its lease is over
        async with at_work(make_worker(storage, mail_server.url, clock)):
            taken_over = await ended(storage, operation)
        await asyncio.sleep(max(0.0, frozen_at + 2 * TRIES_S - time.monotonic()))
        os.kill(process.pid, signal.SIGCONT)
        # It goes on to work, and by then has done whatever it does with the first one.
        next_one = await invited(storage, "next@example.com", "Next", at=datetime.now(UTC))
        await ended(storage, next_one)
    finally:
        process.kill()
        await process.wait()
    ids = [str(received.message["Message-ID"]) for received in mail_server.received]
    assert ids == [f"<{operation.id}@example.com>"] * sent + [f"<{next_one.id}@example.com>"]
    assert await storage.operations.get_operation(operation.id) == taken_over


async def _freeze(pid: int, database: str) -> None:
    """Has a process stand still; on SQLite while it does not hold the lock that others would wait for."""
    with ExitStack() as held:
        if database.startswith("sqlite"):
            connection = held.enter_context(
                closing(sqlite3.connect(str(make_url(database).database)))
            )
            connection.execute("BEGIN IMMEDIATE")
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
