"""Deliveries to webhooks: how long they take with and without receivers that are dead or hang, and
how fast a backlog drains in how much memory.

`python -m bench.webhooks`: two minutes, on SQLite, the worker in this process and the receivers in
another one.
"""

import asyncio
import gc
import json
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import click
import psutil
import uvloop
from aiohttp import web

from server.composition.worker import build_deliveries
from server.config import Settings
from server.domain.access import Actor
from server.domain.events import EventType
from server.domain.webhooks import ContentType
from server.storage import migrate, open_storage
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import role_json
from server.storage.resellers import require_reseller
from server.storage.schema.codes import CONTENT_TYPE_CODES
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerNumber,
    EventNumber,
    SigningSecret,
    TypesJson,
    WebhookId,
    WebhookNumber,
)
from server.storage.schema.webhook_tables import WebhookRow, webhooks
from server.storage.sql.statements import Insert, Transaction
from server.storage.sql.times import micros
from server.storage.storage import SqlStorage

_RESELLERS, _WEBHOOKS_EACH = 50, 20
_HANGING = "hang"
# Receivers that are broken, by what the result calls them; `{port}` is the well ones'.
_DEAD, _HANGS = "http://127.0.0.1:1/", "http://127.0.0.1:{port}/" + _HANGING
_BROKEN: dict[str, Sequence[str]] = {
    "none broken": [],
    "one dead": [_DEAD],
    "one dead, one that hangs": [_DEAD, _HANGS],
}
_INSERT = Insert(webhooks, WebhookRow)


class _Write(NamedTuple):
    """Events to write: of each reseller one for each customer."""

    resellers: Sequence[str]
    customers: Sequence[int]


def _receive(pipe: Connection) -> None:
    """Answers deliveries in a process of its own; sends the delays when asked."""
    delays: list[float] = []
    count = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal count
        body = await request.read()
        count += 1
        if request.path.endswith(_HANGING):
            await asyncio.sleep(3600)
        elif count <= 50_000:
            at = datetime.fromisoformat(json.loads(body)["time"])
            delays.append(time.time() - at.timestamp())
        return web.Response()

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/{path:.*}", take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        while await asyncio.to_thread(pipe.recv):
            pipe.send((count, list(delays)))
            delays.clear()

    uvloop.run(serve())


@asynccontextmanager
async def _storage(folder: Path) -> AsyncIterator[tuple[SqlStorage, Settings]]:
    url = f"sqlite:///{folder / 'billing.db'}"
    migrate(url)
    storage = await open_storage(url, idempotency_lifetime=timedelta(days=2))
    try:
        yield storage, Settings(var=folder, webhook_allow_private=True)
    finally:
        await storage.close()


def _add_webhooks(
    transaction: Transaction, batch: Sequence[Sequence[tuple[str, str]]]
) -> list[None]:
    rows = []
    for number, (reseller_id, url) in enumerate(chain.from_iterable(batch), 1):
        at = micros(datetime.now(UTC))
        rows.append(
            WebhookRow(
                n=WebhookNumber(number),
                id=WebhookId(f"whk{number}"),
                reseller=require_reseller(transaction, reseller_id),
                url=url,
                types=TypesJson("[]"),
                description="",
                content_type=CONTENT_TYPE_CODES[ContentType.CLOUDEVENTS],
                alert_email=None,
                enabled=True,
                disable_reason="",
                secret=SigningSecret("whsec_" + "c2VjcmV0" * 4),
                old_secret=None,
                old_secret_until=None,
                created_at=at,
                updated_at=at,
                revision=Count(1),
                verified_at=at,
                position=EventNumber(0),
            )
        )
    transaction.insert(_INSERT, rows)
    transaction.has_deliveries = True
    return [None] * len(batch)


def _happen(transaction: Transaction, batch: Sequence[_Write]) -> list[None]:
    at = micros(datetime.now(UTC))
    data = role_json("subject", "billing.accounts.viewer", at)
    for each in batch:
        for reseller_id in each.resellers:
            reseller = require_reseller(transaction, reseller_id)
            for customer in each.customers:
                event = NewEvent(
                    *(reseller, EventType.ACCESS_GRANTED, at, Actor("operator"), data),
                    CustomerNumber(customer),
                )
                log(transaction, event)
    return [None] * len(batch)


async def _delays(
    pipe: Connection, port: int, broken: Sequence[str], seconds: float
) -> list[float]:
    """Returns the seconds from events to their arrival, where some receivers are broken."""
    with tempfile.TemporaryDirectory() as folder:
        async with _storage(Path(folder)) as (storage, settings):
            resellers = [f"reseller-{number}" for number in range(_RESELLERS)]
            for each in resellers:
                await storage.administration.add_reseller(each, each, datetime.now(UTC))
            urls = [
                (each, f"http://127.0.0.1:{port}/{number}")
                for each in resellers
                for number in range(_WEBHOOKS_EACH)
            ]
            urls[: len(broken)] = [(resellers[0], each.format(port=port)) for each in broken]
            await storage._writes.submit(  # noqa: SLF001 - as the webhooks' storage does
                _add_webhooks, urls
            )
            runner = build_deliveries(storage, settings)
            # As a worker does.
            gc.collect()
            gc.freeze()
            gc.set_threshold(5_000, 20, 50)
            running = asyncio.create_task(runner.run())
            loop = asyncio.get_running_loop()
            began, number = loop.time(), 0
            while loop.time() - began < seconds:
                # The first reseller, with the broken ones, has as much as all others.
                some = [resellers[0], resellers[1 + number % (_RESELLERS - 1)]]
                await storage._writes.submit(_happen, _Write(some, [number]))  # noqa: SLF001
                number += 1
                await asyncio.sleep(0.2)
            await asyncio.sleep(1.0)
            await runner.stop(timedelta(seconds=0.1))
            await running
    return _asked(pipe)[1]


async def _drain(pipe: Connection, port: int, events: int) -> tuple[float, list[int]]:
    """Returns the events a second at which a backlog drains, and the MiB that this process has then."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        async with _storage(Path(folder)) as (storage, settings):
            await storage.administration.add_reseller("r", "r", datetime.now(UTC))
            for start in range(0, events, 1000):
                some = list(range(start + 1, start + 1001))
                await storage._writes.submit(_happen, _Write(["r"], some))  # noqa: SLF001
            urls = [("r", f"http://127.0.0.1:{port}/")]
            await storage._writes.submit(  # noqa: SLF001
                _add_webhooks, urls
            )
            before = _asked(pipe)[0]
            runner = build_deliveries(storage, settings)
            running = asyncio.create_task(runner.run())
            began, memory = time.monotonic(), []
            while (count := _asked(pipe)[0] - before) < events:
                memory.append(process.memory_info().rss >> 20)
                if time.monotonic() - began > 400:
                    break
                await asyncio.sleep(2)
            took = time.monotonic() - began
            await runner.stop(timedelta(seconds=1))
            await running
    return count / took, memory


def _asked(pipe: Connection) -> tuple[int, list[float]]:
    pipe.send(True)
    found: tuple[int, list[float]] = pipe.recv()
    return found


def _percentile(delays: Sequence[float], share: float) -> float:
    return sorted(delays)[int(len(delays) * share)] * 1000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--events", default=100_000, show_default=True)
def main(rounds: int, seconds: float, events: int) -> None:
    """Measure deliveries to 1,000 webhooks, and a backlog of one."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    receivers = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,))
    receivers.start()
    try:
        port = ours.recv()
        found: dict[str, list[float]] = {name: [] for name in _BROKEN}
        for _ in range(rounds):
            for name, delays in found.items():
                delays += uvloop.run(_delays(ours, port, _BROKEN[name], seconds))
        for name, delays in found.items():
            print(
                f"of 1,000 receivers {name}: {len(delays)} deliveries, "
                f"p50 {_percentile(delays, 0.5):.1f} ms, p99 {_percentile(delays, 0.99):.1f} ms"
            )
        if events:
            rate, memory = uvloop.run(_drain(ours, port, events))
            print(f"backlog of {events}: {rate:.0f} events a second, MiB {memory[::5]}")
    finally:
        receivers.terminate()


if __name__ == "__main__":
    main()
