"""A worker process that is killed at the worst moment."""

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.storage.interface import Storage
from tests.clock import Clock
from tests.worker.harness import at_work, ended, invited, is_done, make_worker
from tests.worker.mail_server import MailServer

# Dies when the mail server has taken the e-mail, before that can be recorded.
CRASHING = """
import asyncio, os, signal, sys
from datetime import UTC, datetime, timedelta
from server.storage import open_storage
from server.worker.mail.smtp import SmtpMailer
from server.worker.mail.smtp_server import SmtpServer
from tests.worker.harness import make_worker

class CrashingMailer(SmtpMailer):
    async def send(self, mail):
        await super().send(mail)
        os.kill(os.getpid(), signal.SIGKILL)

async def main(database, url):
    storage = await open_storage(database, idempotency_lifetime=timedelta(days=2))
    mailer = CrashingMailer(SmtpServer.from_url(url), 1)
    await make_worker(storage, mailer, lambda: datetime.now(UTC)).run()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_e_mail_sent_but_not_recorded_is_sent_again(
    storage: Storage, database: str, mail_server: MailServer
) -> None:
    clock = Clock(datetime.now(UTC))
    operation = await invited(storage, at=clock())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASHING, database, mail_server.url),
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == -signal.SIGKILL, stderr.decode()
    assert len(mail_server.received) == 1
    assert not await is_done(storage, operation)

    clock.advance(timedelta(minutes=2))  # the dead worker's lease is over
    async with at_work(make_worker(storage, mail_server.url, clock)):
        after = await ended(storage, operation)
    assert after.failure is None
    assert await storage.customers.get_customer(operation.customer_id) is not None
    first, second = (received.message for received in mail_server.received)
    assert first["Message-ID"] == second["Message-ID"] == f"<{operation.id}@example.com>"
    assert first["To"] == second["To"]
