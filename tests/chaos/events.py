"""A receiver of events, which remembers what arrived in which order, and the audit of it."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
from aiohttp import web

from tests.chaos.stack import Stack
from tests.service import eventually
from tests.storage.databases import query

_ADDED = "SELECT max(number) FROM events WHERE type = 13"
_NUMBERS = "SELECT number, customer FROM events WHERE type != 18 ORDER BY number"


class Arrival(NamedTuple):
    """A delivery, as it came: its ID, the event's place in the log, and whose it is."""

    id: str
    number: int
    customer: str
    body: str


@dataclass
class Arrivals:
    """What one webhook has got, in the order in which it came.

    `added_at` is the number of the event that tells of the webhook: what comes after is for it.
    """

    added_at: int = 0
    got: list[Arrival] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        event = json.loads(body)
        if event["type"] != "billing.webhook.test.v1":
            self.got.append(
                Arrival(
                    request.headers["webhook-id"],
                    int(event["sequence"]),
                    event.get("subject", ""),
                    body,
                )
            )
        return web.Response(status=204)

    @property
    def repeated(self) -> int:
        """How many came that had come before."""
        return len(self.got) - len({each.number for each in self.got})

    def wrong(self, stack: Stack, within_s: float) -> dict[str, list[str]]:
        """Waits for all to arrive, then returns what must not be, by what is wrong."""

        def missing() -> list[str]:
            there = {each.number for each in self.got}
            return [
                str(number)
                for number, _ in query(stack.database_url, _NUMBERS)
                if number > self.added_at and number not in there
            ]

        found: dict[str, list[str]] = defaultdict(list)
        try:
            eventually(lambda: not missing(), within_s)
        except AssertionError:
            found["events that never arrived"] += missing()
        known: dict[int, Arrival] = {}
        latest: dict[str, int] = {}
        for each in self.got:
            before = known.get(each.number)
            if before is None:
                known[each.number] = each
                if each.customer and latest.get(each.customer, 0) > each.number:
                    found["events of one customer out of order"].append(each.id)
                latest[each.customer] = each.number
            elif before != each:
                found["tries with another ID or body"].append(each.id)
        if len({each.id for each in known.values()}) != len(known):
            found["IDs of two events"].append("…")
        return found


@asynccontextmanager
async def receiving_events(stack: Stack) -> AsyncIterator[Arrivals]:
    """Adds a webhook to the service, and receives what is sent to it until the block ends."""
    arrivals = Arrivals()
    application = web.Application()
    application.router.add_post("/hook", arrivals.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        service = stack.service
        url = f"{service.rest}/v1/resellers/{service.resellerId}/webhooks"
        body = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/hook"}
        async with httpx.AsyncClient(timeout=15) as client:
            answer = await client.post(url, json=body, headers=service.headers)
            assert answer.status_code == 200, answer.text
            ((arrivals.added_at,),) = query(stack.database_url, _ADDED)
            yield arrivals
            name = answer.json()["name"]
            await client.delete(f"{service.rest}/v1/{name}", headers=service.headers)
    finally:
        await runner.cleanup()
