"""The gRPC load generator: a process of its own that takes jobs from stdin, one JSON line each.

It sends prebuilt bytes and parses no answers, over one connection, as many calls at once as asked,
each of which follows its predecessor at once (a closed loop) unless a rate is given.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from typing import Any

import grpc
import uvloop

from bench.processes import ROOT
from bench.requests import Request, invitations, repeated


@dataclass(frozen=True)
class Job:
    """`bodies` (hex) are sent over and over; without any, each call is an Invite of its own.

    With a `rate`, calls start no faster than so many a second; 0: as fast as answers come.
    """

    method: str
    calls: int
    at_once: int
    token: str
    reseller: str = ""
    bodies: list[str] = field(default_factory=list)
    rate: float = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a job. `codes` counts answers by gRPC status; latencies are in milliseconds."""

    seconds: float
    codes: dict[str, int]
    p50_ms: float
    p99_ms: float

    @property
    def good(self) -> int:
        """The number of calls that succeeded."""
        return self.codes.get("OK", 0)


class Generator:
    """The parent's end of a load generator."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, job: Job) -> Outcome:
        """Does a job; raises RuntimeError if any call failed."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the load generator has ended")
        outcome = Outcome(**json.loads(answer))
        if outcome.good != job.calls:
            raise RuntimeError(f"calls failed: {outcome.codes}")
        return outcome


@contextmanager
def generator(address: str) -> Iterator[Generator]:
    """Starts a load generator for one server."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load", address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Generator(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(30)


async def _jobs(address: str) -> None:
    loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            outcome = await _run(channel, Job(**json.loads(line)))
            print(json.dumps(asdict(outcome)), flush=True)


async def _run(channel: grpc.aio.Channel, job: Job) -> Outcome:
    bodies = [bytes.fromhex(body) for body in job.bodies]
    requests: Iterator[Request] = (
        repeated(bodies, job.token) if bodies else invitations(job.reseller, job.token)
    )
    requests = islice(requests, job.calls)
    if job.calls <= 100_000:
        requests = iter(list(requests))
    call: Any = channel.unary_unary(job.method)
    codes: Counter[str] = Counter()
    latencies: list[float] = []

    numbers = count()

    async def caller() -> None:
        for body, headers in requests:
            if job.rate:
                await asyncio.sleep(began + next(numbers) / job.rate - time.perf_counter())
            start = time.perf_counter()
            try:
                await call(body, metadata=headers)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
            else:
                codes["OK"] += 1
                latencies.append(time.perf_counter() - start)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(job.at_once)))
    seconds = time.perf_counter() - began
    latencies.sort()
    return Outcome(
        seconds=seconds,
        codes=dict(codes),
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
    )


def percentile(ordered: list[float], share: float) -> float:
    """Returns the value that `share` of the ordered values do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


if __name__ == "__main__":
    asyncio.set_event_loop_policy(None)
    uvloop.run(_jobs(sys.argv[1]))
