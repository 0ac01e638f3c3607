"""Row 6: from Invite to the sent e-mail, and how many e-mails a second, beside bare SMTP."""

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
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

from bench.dependencies import catcher
from bench.load import Job, generator, percentile
from bench.measure import Row, Sample, Scale, format_medians, interleaved, rates, ratio
from bench.processes import Running, python, running
from bench.requests import INVITE, invitations
from bench.service import RESELLER, TOKEN, prepare, server, settings

Step = Callable[[str], None]

_WAIT = "/google.longrunning.Operations/WaitOperation"
_RATE = 100
_LOOK_S = 0.1  # counting takes some of the processor that the worker could use
CONNECTIONS = 24  # as BILLING_MAIL_CONNECTIONS is by default
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
        content = caught(folder)
        found = interleaved(
            {
                "bare": lambda: uvloop.run(sent(port, content, min(count, 300), 1)),
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

        def once() -> Sample:
            load.run(Job(INVITE, scale.mails, 64, TOKEN, RESELLER))
            return worked(chosen.var, port, scale.mails, nullcontext)

        once()
        content = caught(folder)
        found = interleaved(
            {
                "bare": lambda: uvloop.run(sent(port, content, scale.mails, CONNECTIONS)),
                "ours": once,
            },
            max(3, scale.rounds // 3),
            step,
        )
    return [
        Row(
            "6",
            "The worker's sustained rate against bare aiosmtplib sends: e-mails a second",
            *ratio(rates(found["ours"]), rates(found["bare"])),
            goal=0.9,
            at_least=True,
            ours=format_medians(found["ours"]),
            baseline=format_medians(found["bare"]),
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
    return _sample(latencies, seconds, {})


async def sent(port: int, content: bytes, count: int, connections: int) -> Sample:
    """Sends one e-mail over and over with nothing but the client library."""
    latencies: list[float] = []
    numbers = iter(range(count))

    async def one() -> None:
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for _ in numbers:
                began = time.perf_counter()
                await smtp.sendmail(_SENDER, [_RECIPIENT], content)
                latencies.append(time.perf_counter() - began)

    began, cpu_began = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one() for _ in range(connections)))
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return _sample(latencies, seconds, {"client": cpu_s / count * 1e6})


def worked(
    var: Path, port: int, count: int, watch: Callable[[Running], AbstractContextManager[Any]]
) -> Sample:
    """Runs a worker until all is sent; measures, and watches, the middle four fifths."""
    log = var / "logs" / "worker.log"
    variables = {"BILLING_VAR": str(var), "BILLING_SMTP_URL": f"smtp://127.0.0.1:{port}"}
    with (
        closing(sqlite3.connect(var / "billing.db")) as database,
        running(
            "worker", python("server", "worker", "--dev"), log, lambda: True, variables
        ) as worker,
    ):

        def down_to(most: float) -> tuple[int, float, float]:
            """Returns what is left to send, the time and the worker's CPU time, once it is so few."""
            while True:
                time.sleep(_LOOK_S)
                if worker.process.status() == psutil.STATUS_ZOMBIE:
                    raise RuntimeError(f"the worker has ended ({log})")
                ((left,),) = database.execute("SELECT count(*) FROM operations WHERE NOT done")
                if left <= most:
                    return left, time.perf_counter(), worker.cpu_s()

        down_to(0.9 * count)
        with watch(worker):
            # Not before the watch has begun, which takes its time.
            first, first_at, first_cpu_s = down_to(count)
            last, last_at, last_cpu_s = down_to(0.1 * count)
        down_to(0)
    sent = first - last
    return Sample(
        calls=sent,
        per_s=sent / (last_at - first_at),
        p50_ms=0,
        p99_ms=0,
        cpu_us={"worker": (last_cpu_s - first_cpu_s) / sent * 1e6},
    )


def caught(folder: Path) -> bytes:
    """Returns an e-mail that the service sent, without what the catcher put in front."""
    newest = max((folder / "mail").glob("*.eml"))
    return newest.read_bytes().split(b"\r\n", 2)[2]


def _sample(latencies: list[float], seconds: float, cpu_us: dict[str, float]) -> Sample:
    ordered = sorted(latencies)
    return Sample(
        calls=len(ordered),
        per_s=len(ordered) / seconds,
        p50_ms=percentile(ordered, 0.5) * 1000,
        p99_ms=percentile(ordered, 0.99) * 1000,
        cpu_us=cpu_us,
    )
