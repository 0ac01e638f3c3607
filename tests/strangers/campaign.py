"""Runs one attack on a service, and judges by what the others noticed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.fuzz.probes import Memory
from tests.service import ROOT, Service, environment, running
from tests.strangers.accounts import owner_token, viewer_token
from tests.strangers.attack import Attack, Fakes, Progress, Target
from tests.strangers.attacks import all_attacks
from tests.strangers.others import Noticed, Others

_LATEST_S = 1.0
# In `make test`, where the disk alone may keep a call waiting for seconds: other tests write to it.
_LATEST_SMALL_S = 15.0
_LOOK_S = 0.1
_START_S = 300.0
# Files come and go by themselves: connections of the others, of the database, of logs.
_FILES_MORE = 40
_CLEAN_S = 30.0


@dataclass
class Size:
    """Memory in MiB and open files of one kind of process."""

    mib: int = 0
    files: int = 0

    def up_to(self, other: Size) -> Size:
        """Returns the larger of both, each."""
        return Size(max(self.mib, other.mib), max(self.files, other.files))


@dataclass
class Phase:
    """What was noticed, and the most that gateway and servers took meanwhile."""

    noticed: Noticed = field(default_factory=Noticed)
    gateway: Size = field(default_factory=Size)
    server: Size = field(default_factory=Size)


@dataclass
class Report:
    """The phases before, during and after an attack, and what broke the rule."""

    attack: Attack
    before: Phase
    during: Phase
    after: Phase
    broken: list[str]


class _Watch:
    """Looks at the processes all the time."""

    def __init__(self, service: Service) -> None:
        self._memory = Memory.of(service.process.pid)
        self.pids = set(self._memory.pids())
        self.phase = Phase()

    def sizes(self) -> tuple[Size, Size]:
        """Returns what the gateway and the servers take now."""
        memory = self._memory.now()
        files = {
            name: sum(one.num_fds() for one in processes)
            for name, processes in self._memory.processes.items()
        }
        return (
            Size(memory["Envoy"], files["Envoy"]),
            Size(memory["server"], files["server"]),
        )

    def look(self) -> None:
        """Notes what they take now."""
        gateway, server = self.sizes()
        self.phase.gateway = self.phase.gateway.up_to(gateway)
        self.phase.server = self.phase.server.up_to(server)

    async def keep(self) -> None:
        """Looks until cancelled, or until a process has died."""
        with contextlib.suppress(psutil.NoSuchProcess):
            while True:
                self.look()
                await asyncio.sleep(_LOOK_S)


@contextlib.contextmanager
def attackable(fakes: Fakes, folder: Path) -> Iterator[Service]:
    """Runs a service that keeps its files in `folder`, and says in its target.json how to attack it."""
    with (
        fakes() as settings,
        running(folder / "var", environment(folder / "var", **settings)) as service,
    ):
        target = Target(
            *(service.rest, service.rest_tls, service.grpc, service.ca),
            *(viewer_token(service), service.resellerId, owner_token(service)),
        )
        target.save(folder / "target.json")
        yield service


async def run(
    name: str, service: Service, *, small: bool, seconds: float, progress: Progress = lambda _: None
) -> Report:
    """Attacks a service for so many seconds once all is under way."""
    attack = all_attacks()[name]
    await asyncio.to_thread(_add_customers, service, attack.rows)
    return await _run(
        attack,
        service,
        [
            name,
            str(attack.small if small else attack.full),
            str(service.var.parent / "target.json"),
        ],
        seconds,
        _LATEST_SMALL_S if small else _LATEST_S,
        progress,
    )


def _add_customers(service: Service, count: int) -> None:
    """Adds what the reseller lacks to have so many, 1,000 at most."""
    with httpx.Client(base_url=service.rest, headers=service.headers) as client:
        found = client.get(
            "/billing/v1/customers", params={"resellerId": service.resellerId, "pageSize": 1000}
        )
        for number in range(len(found.json()["customers"]), count):
            body = {
                "resellerId": service.resellerId,
                "name": f"Customer {number}",
                "person": {"name": "Остап", "longname": "Остап Сулейман Берта Мария Бендер"},
            }
            answer = client.post("/billing/v1/customers:createResellerServedCustomer", json=body)
            assert answer.status_code == 200, answer.text


async def _run(
    attack: Attack,
    service: Service,
    words: list[str],
    seconds: float,
    latest_s: float,
    progress: Progress,
) -> Report:
    watch = _Watch(service)
    others = Others(service)
    looking = asyncio.create_task(watch.keep())
    phases: list[Phase] = []

    def next_phase() -> None:
        watch.phase.noticed = others.next_phase()
        phases.append(watch.phase)
        watch.phase = Phase()

    try:
        async with others.calling():
            await asyncio.sleep(seconds / 2)
            next_phase()
            async with _attacking(words, progress):
                await asyncio.sleep(seconds)
            next_phase()
            await _settled(watch, phases[0])
            others.next_phase()
            watch.phase = Phase()
            await asyncio.sleep(seconds / 2)
    finally:
        looking.cancel()
    next_phase()
    before, during, after = phases
    pids = set(Memory.of(service.process.pid).pids())
    return Report(
        attack,
        before,
        during,
        after,
        [
            *_broken("before", before, latest_s, latest_s),
            *_broken("during", during, latest_s, max(latest_s, attack.newcomers_within_s)),
            *_broken("after", after, latest_s, latest_s),
            *_too_much(attack, before, during, after),
            *([] if pids == watch.pids else ["a process died"]),
        ],
    )


async def _settled(watch: _Watch, before: Phase) -> None:
    """Returns once the attack's connections are gone, or after a time that is long enough."""
    deadline = time.monotonic() + _CLEAN_S
    while time.monotonic() < deadline:
        gateway, server = watch.sizes()
        more = max(gateway.files - before.gateway.files, server.files - before.server.files)
        if more <= _FILES_MORE:
            return
        await asyncio.sleep(_LOOK_S)


def _broken(when: str, phase: Phase, latest_s: float, newcomers_within_s: float) -> list[str]:
    noticed = phase.noticed
    found = []
    if not noticed.answers:
        found.append(f"{when}: nobody was answered")
    if noticed.wrong:
        found.append(f"{when}: {len(noticed.wrong)} wrong answers, the first: {noticed.wrong[0]}")
    if noticed.slowest_s > latest_s:
        found.append(f"{when}: an answer after {noticed.slowest_s:.1f} s ({noticed.slowest})")
    if noticed.slowest_newcomer_s > newcomers_within_s:
        found.append(f"{when}: a newcomer was answered after {noticed.slowest_newcomer_s:.1f} s")
    return found


def _too_much(attack: Attack, before: Phase, during: Phase, after: Phase) -> list[str]:
    found = []
    grown = during.gateway.mib - before.gateway.mib
    if grown > attack.most_gateway_mib:
        found.append(f"the gateway grew by {grown} MiB")
    for who, files, most in (
        ("gateway", after.gateway.files, before.gateway.files),
        ("server", after.server.files, before.server.files),
    ):
        if files > most + _FILES_MORE:
            found.append(f"the {who} has {files} open files after it, {most} before")
    return found


@contextlib.asynccontextmanager
async def _attacking(words: list[str], progress: Progress) -> AsyncIterator[None]:
    """Has the attack under way, in a process whose work does not hold the others up."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.strangers.attacker", *words),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(_START_S):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the attack ended before it was under way"
                progress(int(line))
        yield
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.stdout.read()
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
