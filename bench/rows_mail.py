"""Row 6: from Invite to the sent e-mail, and how many e-mails a second, beside bare SMTP."""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop
from aiosmtplib import SMTP
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from yandex.cloud.operation import operation_pb2

from bench.gates import catcher
from bench.load import Job, generator, percentile
from bench.measure import Row, Sample, Scale, interleaved, rates, ratio, told
from bench.parts import RESELLER, TOKEN, prepare, server, settings
from bench.processes import python, running
from bench.requests import INVITE, invitations

Step = Callable[[str], None]

_WAIT = "/google.longrunning.Operations/WaitOperation"
_RATE = 100
_LOOK_S = 0.1  # counting takes some of the processor that the worker could use
_CONNECTIONS = 24  # as BILLING_MAIL_CONNECTIONS is by default
_SENDER, _RECIPIENT = "billing@example.com", "customer@example.com"


def to_done(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 6, latency: Invites that start every 10 ms, each waited for; bare sends one by one."""
    chosen = settings(folder / "service")
    prepare(chosen)
    count = round(scale.seconds * _RATE)
    with (
        catcher(folder) as (_, port),
        server(chosen, worker=True, smtp_url=f"smtp://127.0.0.1:{port}") as (_, address),
    ):
        uvloop.run(_invited(address, _RATE))
        content = _caught(folder)
        found = interleaved(
            {
                "bare": lambda: uvloop.run(_sent(port, content, min(count, 300), 1)),
                "ours": lambda: uvloop.run(_invited(address, count)),
            },
            scale.rounds,
            step,
        )
    bare, ours = found["bare"], found["ours"]
    rows = []
    for name, goal, values, bare_values in (
        ("p50", 15, [s.p50_ms for s in ours], [s.p50_ms for s in bare]),
        ("p99", 60, [s.p99_ms for s in ours], [s.p99_ms for s in bare]),
    ):
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        times, *_ = ratio(values, bare_values)
        rows.append(
            Row(
                "6",
                f"Invite to `done` at {_RATE}/s, {name}: milliseconds",
                middle,
                low,
                high,
                goal=goal,
                ours=f"{middle:.1f} ms, {times:.1f} times a bare send's {name}",
                baseline=f"one bare SMTP send: {name} {statistics.median(bare_values):.1f} ms",
                meaning="How soon after the call the e-mail is out and the operation says so.",
                samples=found,
            )
        )
    return rows


def sustained(folder: Path, scale: Scale, step: Step) -> list[Row]:
    """Row 6, rate: a worker alone on a full queue; bare sends over as many connections."""
    chosen = settings(folder / "service")
    prepare(chosen)
    with catcher(folder) as (_, port), server(chosen) as (_, address), generator(address) as load:

        def worked() -> Sample:
            load.run(Job(INVITE, scale.mails, 64, TOKEN, RESELLER))
            return _worked(chosen.var, port, scale.mails)

        worked()
        content = _caught(folder)
        found = interleaved(
            {
                "bare": lambda: uvloop.run(_sent(port, content, scale.mails, _CONNECTIONS)),
                "ours": worked,
            },
            max(3, scale.rounds // 2),
            step,
        )
    return [
        Row(
            "6",
            "The worker's sustained rate against bare aiosmtplib sends: e-mails a second",
            *ratio(rates(found["ours"]), rates(found["bare"])),
            goal=0.9,
            at_least=True,
            ours=f"{statistics.median(rates(found['ours'])):,.0f}/s",
            baseline=told(found["bare"]),
            meaning="What claiming, writing and recording take from SMTP's own pace.",
            samples=found,
        )
    ]


async def _invited(address: str, count: int) -> Sample:
    """Starts Invites on time and waits for each operation's end; times from when it was due."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        invite: Any = channel.unary_unary(INVITE)
        wait: Any = channel.unary_unary(_WAIT)
        await channel.channel_ready()
        start = time.perf_counter() + 0.1

        async def one(due_at: float, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
            await asyncio.sleep(due_at - time.perf_counter())
            answer = operation_pb2.Operation.FromString(await invite(body, metadata=headers))
            request = operations_pb2.WaitOperationRequest(
                name=f"operations/{answer.id}", timeout=duration_pb2.Duration(seconds=20)
            )
            ended = operations_pb2.Operation.FromString(
                await wait(request.SerializeToString(), metadata=headers[:1])
            )
            if not ended.HasField("response"):
                raise RuntimeError("an operation did not succeed")
            latencies.append(time.perf_counter() - due_at)

        requests = islice(invitations(RESELLER, TOKEN), count)
        await asyncio.gather(
            *(one(start + number / _RATE, *each) for number, each in enumerate(requests))
        )
        seconds = time.perf_counter() - start
    return _sample(latencies, seconds)


async def _sent(port: int, content: bytes, count: int, connections: int) -> Sample:
    """Sends one e-mail over and over with nothing but the client library."""
    latencies: list[float] = []
    numbers = iter(range(count))

    async def one() -> None:
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for _ in numbers:
                began = time.perf_counter()
                await smtp.sendmail(_SENDER, [_RECIPIENT], content)
                latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return _sample(latencies, time.perf_counter() - began)


def _worked(var: Path, port: int, count: int) -> Sample:
    """Runs a worker until all is sent; its rate is that of the middle four fifths."""
    seen: list[tuple[float, int]] = []
    log = var / "logs" / "worker.log"
    variables = {"BILLING_VAR": str(var), "BILLING_SMTP_URL": f"smtp://127.0.0.1:{port}"}
    with (
        closing(sqlite3.connect(var / "billing.db")) as database,
        running("worker", python("server", "worker"), log, lambda: True, variables) as worker,
    ):
        number = count
        while number:
            time.sleep(_LOOK_S)
            if worker.process.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"the worker has ended ({log})")
            ((number,),) = database.execute("SELECT count(*) FROM operations WHERE NOT done")
            seen.append((time.perf_counter(), number))
    middle = [(at, number) for at, number in seen if 0.1 * count <= number <= 0.9 * count]
    (first_at, first), (last_at, last) = middle[0], middle[-1]
    rate = (first - last) / (last_at - first_at)
    return Sample(calls=count, per_s=rate, p50_ms=0, p99_ms=0, cpu_us={})


def _caught(folder: Path) -> bytes:
    """Returns an e-mail that the service sent, without what the catcher put in front."""
    newest = max((folder / "mail").glob("*.eml"))
    return newest.read_bytes().split(b"\r\n", 2)[2]


def _sample(latencies: list[float], seconds: float) -> Sample:
    ordered = sorted(latencies)
    return Sample(
        calls=len(ordered),
        per_s=len(ordered) / seconds,
        p50_ms=percentile(ordered, 0.5) * 1000,
        p99_ms=percentile(ordered, 0.99) * 1000,
        cpu_us={},
    )
