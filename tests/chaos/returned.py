"""Mail servers and relays that report e-mails as come back, and what became of that."""

import asyncio
import json
import smtplib
import uuid
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from server.domain.events import EventType
from server.domain.mail import DeliveryState
from server.storage.schema.codes import DELIVERY_STATE_CODES, EVENT_TYPE_CODES
from tests.bounces.samples import SAMPLES
from tests.chaos.load import DEADLINE_S
from tests.chaos.stack import Stack
from tests.service import RELAY_SECRET, Service
from tests.storage.databases import query

# Of so many addresses one is none: enough reports that some are under way whenever something dies.
_ONE_IN = 6
_AT_A_TIME = 8
# How long until the folder of e-mails is looked at again, and until a report is made again.
_PAUSE_S = 0.2
# A report is taken once its e-mail's operation has ended; then all are within so long.
_TAKEN_WITHIN_S = 60.0
_STATES = "SELECT email, delivery FROM customers WHERE delivery IS NOT NULL"
_TOLD = (
    "SELECT c.email, count(*) FROM events e JOIN customers c ON c.n = e.customer "
    f"WHERE e.type = {EVENT_TYPE_CODES[EventType.INVITATION_BOUNCED]} GROUP BY c.email"
)


class Reporters:
    """Report e-mails to some addresses, half by SMTP and half by HTTP, each until it is acknowledged.

    `reported` counts acknowledged reports by address, `ways` by how they were made, `refused` what was
    answered in place of an acknowledgement; `waiting` has what those heard last that are not taken yet.
    """

    def __init__(self, stack: Stack, client: httpx.AsyncClient) -> None:
        self._service: Service = stack.service
        self._database = stack.database_url
        self._client = client
        self._seen: set[str] = set()
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self.reported: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.waiting: dict[str, str] = {}

    async def run(self) -> None:
        """Reports what arrives, until it is stopped; then what has arrived by then."""
        while not self._stop.is_set():
            await asyncio.sleep(_PAUSE_S)  # a folder tells nobody what comes into it
            self._look()
        self._look()
        await asyncio.gather(*self._tasks)

    def stop(self) -> None:
        """Has it end."""
        self._stop.set()

    def wrong(self) -> dict[str, list[str]]:
        """Returns what must not be, by what is wrong."""
        bounced = DELIVERY_STATE_CODES[DeliveryState.BOUNCED]
        shown = {email for email, state in query(self._database, _STATES) if state == bounced}
        told = dict(query(self._database, _TOLD))
        reported = set(self.reported)
        return {
            "come back, and their report not taken": [
                f"{address}: {refusal}" for address, refusal in sorted(self.waiting.items())
            ],
            "reported as come back, and lost": sorted(reported - shown),
            "come back, and told by no event": sorted(shown - set(told)),
            "come back, and told twice": sorted(each for each, times in told.items() if times > 1),
            "never reported, but come back": sorted(shown - reported),
        }

    def _look(self) -> None:
        for file in sorted(Path(self._service.mail).glob("*.eml")):
            if file.name in self._seen:
                continue
            self._seen.add(file.name)
            headers = BytesHeaderParser().parsebytes(file.read_bytes())
            address, sender = str(headers["X-Envelope-To"]), str(headers["Return-Path"]).strip("<>")
            if zlib.crc32(address.encode()) % _ONE_IN == 0:
                self._tasks.append(asyncio.create_task(self._report(address, sender)))

    async def _report(self, address: str, sender: str) -> None:
        by_http = len(self._tasks) % 2 == 0
        async with self._places:
            while refusal := await (self._by_http(sender) if by_http else self._by_smtp(sender)):
                self.refused[refusal] += 1
                self.waiting[address] = refusal
                await asyncio.sleep(_PAUSE_S)
        self.waiting.pop(address, None)
        self.reported[address] += 1
        self.ways["HTTP" if by_http else "SMTP"] += 1

    async def _by_smtp(self, sender: str) -> str:
        """Returns what it is refused with, "" once it is acknowledged."""
        try:
            await asyncio.to_thread(self._send, sender)
        except (smtplib.SMTPException, OSError) as error:
            return type(error).__name__
        return ""

    def _send(self, sender: str) -> None:
        port = urlsplit(self._service.bounces).port or 0
        with smtplib.SMTP("127.0.0.1", port, "mx.customer.test", DEADLINE_S) as client:
            client.sendmail("", [sender], SAMPLES["postfix"].content)

    async def _by_http(self, sender: str) -> str:
        now, id_ = datetime.now(UTC), f"msg_{uuid.uuid4().hex}"
        body = json.dumps({"sender": sender, "action": "failed", "status": "5.1.1"})
        headers = {
            "webhook-id": id_,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(RELAY_SECRET).sign(id_, now, body),
        }
        url = f"{self._service.rest}/v1/bounces"
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            return type(error).__name__
        return "" if answer.status_code == 200 else str(answer.status_code)


@asynccontextmanager
async def reporters(stack: Stack) -> AsyncIterator[Reporters]:
    """Has what comes back be reported while the block runs; then waits until all of it is taken."""
    async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
        made = Reporters(stack, client)
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            made.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(running, _TAKEN_WITHIN_S)
