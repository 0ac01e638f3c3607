"""Callers in a process of their own: `python -m tests.failover.load SERVICE_FILE REPORT_FILE`.

They say so when the first of them has been answered, call until their standard input ends, and then
report what they were told.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import grpc
import httpx
from google.longrunning import operations_pb2, operations_pb2_grpc

from tests.chaos.load import DEADLINE_S, AcknowledgedCalls, Callers, by_grpc, callers
from tests.service import ROOT, Service

_READ_EVERY_S = 0.05
_CROSS_EVERY_S = 0.1


@dataclass
class CallerReport:
    """What callers were told."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    """Operation IDs by the address invited."""
    refused_once: dict[str, str] = field(default_factory=dict)
    """The reasons of calls without a key that were refused, by the address invited."""
    contradictions: list[str] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    """Operations that were read as acknowledged or done, and later as unknown or not done."""
    answers: dict[str, int] = field(default_factory=dict)
    across: list[tuple[float, float]] = field(default_factory=list)
    """When invitations were asked for at one server, and the seconds until another knew of their end."""
    without_retry_info: int = 0
    slowest_s: float = 0.0


class Load:
    """The process; `report` is there once it has ended."""

    def __init__(self) -> None:
        self.report = CallerReport()


@contextmanager
def load(service: Service, folder: Path) -> Iterator[Load]:
    """Has callers at work, of whom one has been answered, until the block ends; then all have their
    last answer.
    """
    given, answered = folder / "service.json", folder / "report.json"
    known = {
        each.name: getattr(service, each.name)
        for each in fields(service)
        if each.name not in ("process", "environment")
    }
    given.write_text(json.dumps(known, default=str))
    words = [sys.executable, "-m", "tests.failover.load", str(given), str(answered)]
    process = Popen(words, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    made = Load()
    try:
        # A busy machine takes its time to start it: that none is answered then is no fault's doing.
        assert process.stdout
        assert process.stdout.readline(), "the callers have ended"
        yield made
    finally:
        assert process.stdin and process.stdout
        process.stdin.close()
        assert process.wait(120) == 0
        process.stdout.close()
    made.report = CallerReport(**json.loads(answered.read_text()))


async def _call(known: dict[str, Any]) -> CallerReport:
    """Calls a service of which this is known, until standard input ends."""
    paths = {name: Path(known.pop(name)) for name in ("var", "output")}
    service = Service(process=None, environment={}, **paths, **known)  # type: ignore[arg-type]
    report = CallerReport()
    async with (
        callers(service) as at_work,
        httpx.AsyncClient(base_url=service.rest, timeout=DEADLINE_S) as client,
    ):
        beside = [
            asyncio.create_task(_read(client, service, at_work, report)),
            asyncio.create_task(_cross(service, at_work, report)),
        ]
        while not at_work.calls.acknowledged:  # noqa: ASYNC110
            await asyncio.sleep(_READ_EVERY_S)
        print("at work", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    _note(report, at_work.calls)
    return report


def _note(report: CallerReport, calls: AcknowledgedCalls) -> None:
    report.acknowledged = calls.acknowledged
    report.refused_once = calls.refused_once
    report.contradictions = calls.contradictions
    report.answers = dict(calls.answers)
    report.slowest_s = calls.slowest_s
    statuses = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "503", "429")
    report.without_retry_info = sum(
        answer.refusal in statuses and not answer.retry_info for _, _, answer in calls.refusals
    )


async def _read(
    client: httpx.AsyncClient, service: Service, at_work: Callers, report: CallerReport
) -> None:
    """Reads what was acknowledged last, and what was seen done: neither may be taken back."""
    done = ""
    while True:
        await asyncio.sleep(_READ_EVERY_S)
        acknowledged = list(at_work.calls.acknowledged.values())
        for id_ in filter(None, (done, acknowledged[-1] if acknowledged else "")):
            with suppress(httpx.TransportError):
                answer = await client.get(f"/operations/{id_}", headers=service.headers)
                body: dict[str, Any] = answer.json()
                if answer.status_code == 404 or (
                    answer.status_code == 200 and id_ == done and not body["done"]
                ):
                    report.backwards.append(id_)
                if answer.status_code == 200 and body["done"]:
                    done = id_


async def _cross(service: Service, at_work: Callers, report: CallerReport) -> None:
    """Invites at either server in turn, past the gateway, and waits at the other for the end."""
    addresses = [service.grpc, f"unix:{service.var}/run/server-1.sock"]
    async with AsyncExitStack() as open_:
        channels = [
            await open_.enter_async_context(grpc.aio.insecure_channel(each)) for each in addresses
        ]
        for turn in count():
            await asyncio.sleep(_CROSS_EVERY_S)
            at, began_s = time.time(), time.monotonic()
            invite = by_grpc(channels[turn % 2], service)
            _, answer = await at_work.invite("gRPC across", invite, str(uuid.uuid4()))
            if not answer.operation:
                continue
            stub: Any = operations_pb2_grpc.OperationsStub(channels[1 - turn % 2])
            name = f"operations/{answer.operation['id']}"
            request = operations_pb2.WaitOperationRequest(name=name)
            request.timeout.FromSeconds(int(DEADLINE_S))
            with suppress(grpc.aio.AioRpcError):
                ended = await stub.WaitOperation(
                    request, metadata=service.metadata, timeout=2 * DEADLINE_S
                )
                if ended.done:
                    report.across.append((at, time.monotonic() - began_s))


if __name__ == "__main__":
    _report = asyncio.run(_call(json.loads(Path(sys.argv[1]).read_text())))
    Path(sys.argv[2]).write_text(json.dumps(asdict(_report)))
