"""What takes e-mails that come back is killed while reports come: none is lost, none told twice."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiosmtplib
import pytest

from server.domain.events import EventType
from server.domain.invitations import InvitationList
from server.domain.mail import DeliveryState
from server.storage import migrate
from server.storage.check.consistency import check
from server.storage.interface import Storage
from tests.bounces.samples import SAMPLES
from tests.chaos.postgres import postgres
from tests.service import ROOT, free_ports
from tests.worker.conftest import storage
from tests.worker.harness import RESELLER_ID, invited

__all__ = ["storage"]  # fixtures

COUNT = int(os.environ.get("BOUNCE_KILLS_COUNT", "30"))
DOMAIN = "bounces.example.com"
PATIENCE_S = 90


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database with the schema."""
    with ExitStack() as open_:
        url = f"sqlite:///{tmp_path / 'billing.db'}"
        if request.param == "postgresql":
            url = open_.enter_context(postgres()).url
        migrate(url)
        yield url


class Receiver:
    """A process that takes reports at one port, killed and started again."""

    def __init__(self, database: str, var: Path) -> None:
        self.port = free_ports(1)[0]
        clean = {name: text for name, text in os.environ.items() if not name.startswith("BILLING_")}
        self._environment = clean | {
            "BILLING_DATABASE_URL": database,
            "BILLING_VAR": str(var),
            "BILLING_BOUNCE_DOMAIN": DOMAIN,
            "BILLING_METRICS_PORT": str(free_ports(1)[0]),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "server", "bounces", "--listen", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            words, cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait(60)


@asynccontextmanager
async def receiving(database: str, var: Path) -> AsyncIterator[Receiver]:
    receiver = Receiver(database, var)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.kill()


async def report(port: int, sender: str) -> None:
    """Reports until that is acknowledged, as mail servers do."""
    while True:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            async with aiosmtplib.SMTP(
                hostname="127.0.0.1", port=port, start_tls=False, timeout=10
            ) as client:
                await client.sendmail("", [sender], SAMPLES["postfix"].content)
                return
        await asyncio.sleep(0.1)  # nothing tells that a process listens again


@pytest.mark.timeout(240)
async def test_what_comes_back_while_processes_die_is_told_once(
    storage: Storage, database: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    for number in range(COUNT):
        await invited(storage, f"user{number}@example.com", at=now)
    senders = []
    for delivery in await storage.mail.claim_deliveries(COUNT, now, timedelta(minutes=1)):
        assert await storage.mail.finish_delivery(delivery, now)
        senders.append(f"{delivery.bounce_local_part}@{DOMAIN}")
    assert len(senders) == COUNT
    acknowledged = 0
    news = asyncio.Condition()
    places = asyncio.Semaphore(6)

    async def send(sender: str, port: int) -> None:
        nonlocal acknowledged
        async with places:
            await report(port, sender)
        async with news:
            acknowledged += 1
            news.notify_all()

    async with asyncio.timeout(2 * PATIENCE_S), receiving(database, tmp_path / "var") as receiver:
        sending = [asyncio.create_task(send(sender, receiver.port)) for sender in senders]
        for part in (1, 2):
            async with news:
                await news.wait_for(lambda part=part: acknowledged >= part * COUNT // 3)  # type: ignore[misc]
            receiver.kill()
            receiver.start()
        await asyncio.gather(*sending)
    rows = (
        await storage.invitations.list_invitations(InvitationList(RESELLER_ID), now, 1000, None)
    ).rows
    states = [row.record.delivery.state for row in rows if row.record.delivery]
    assert states == [DeliveryState.BOUNCED] * COUNT
    page = await storage.events.list_events(RESELLER_ID, 0, None, 1000)
    told = [
        event.invitation_id for event in page.events if event.type is EventType.INVITATION_BOUNCED
    ]
    assert len(told) == len(set(told)) == COUNT
    assert len(await storage.suppressions.list_suppressions(RESELLER_ID, 1000, None)) == COUNT
    assert [finding for finding in check(database) if finding.count] == []
