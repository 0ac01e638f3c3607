"""kill -9 at random instants, under load."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.audit import Findings, audit, left_undone
from tests.chaos.events import Arrivals, receiving_events
from tests.chaos.load import AcknowledgedCalls, callers
from tests.chaos.postgres import Postgres, postgres
from tests.chaos.returned import Reporters, reporters
from tests.chaos.stack import Stack, kill, stack
from tests.service import RELAY_SECRET

# Who is up again so late is not coming back by itself.
_RECOVERY_S = 40.0
# The lease of a delivery whose worker was killed, and some more.
_EVENTS_WITHIN_S = 90.0


class ProcessKiller:
    """Kills one process after the other, each at random, and counts them."""

    def __init__(
        self,
        stack: Stack,
        calls: AcknowledgedCalls,
        database: Postgres | None,
        rng: random.Random,
    ) -> None:
        self._stack = stack
        self._calls = calls
        self._database = database
        self._rng = rng
        self.kills: Counter[str] = Counter()
        self.longest_outage_s = 0.0

    async def run(self, kills: int, each: Callable[[], object] = lambda: None) -> None:
        """Kills so many; calls `each` after each. Raises AssertionError where service stays away."""
        kinds = ["server", "worker", "gateway", *(["database"] if self._database else [])]
        while self.kills.total() < kills:
            # Every kind has its turn, in an order of chance, at an instant of chance: sometimes while
            # the last one's victims are still getting up.
            for kind in self._rng.sample(kinds, len(kinds)):
                if self.kills.total() < kills and await self._kill(kind):
                    self.kills[kind] += 1
                    each()
                    await self._recovery()
                await asyncio.sleep(self._rng.random())

    async def _kill(self, kind: str) -> bool:
        match kind:
            case "server":
                pids = self._stack.servers()
            case "worker":
                pids = [self._stack.worker.pid] if self._stack.worker else []
            case "gateway":
                pids = self._stack.gateways()
            case _:
                assert self._database
                await asyncio.to_thread(self._database.kill)
                await asyncio.sleep(self._rng.random())
                await asyncio.to_thread(self._database.start)
                return True
        return bool(pids) and kill(self._rng.choice(pids))

    async def _recovery(self) -> None:
        """Returns once an invitation has been acknowledged that was sent after this began."""
        began = time.monotonic()
        seen = len(self._calls.acknowledged)
        while len(self._calls.acknowledged) < seen + 10:
            waited = time.monotonic() - began
            assert waited < _RECOVERY_S, "service does not come back"
            await asyncio.sleep(0.02)
        self.longest_outage_s = max(self.longest_outage_s, time.monotonic() - began)


@dataclass(frozen=True)
class Report:
    """What was done to the service, what callers were told, and what became of it."""

    killer: ProcessKiller
    calls: AcknowledgedCalls
    findings: Findings
    arrivals: Arrivals
    returned: Reporters

    @property
    def lines(self) -> list[str]:
        """What a person reads."""
        kills = self.killer.kills
        return [
            f"killed                        {kills.total():8}   ({_told(kills)})",
            f"longest until invited again   {self.killer.longest_outage_s:8.1f} s",
            f"slowest answer                {self.calls.slowest_s:8.1f} s",
            "answers",
            *(f"  {kind:40} {count:8}" for kind, count in sorted(self.calls.answers.items())),
            f"reported as come back         {self.returned.reported.total():8}   ({_told(self.returned.ways)})",
            f"  refused meanwhile           {self.returned.refused.total():8}   ({_told(self.returned.refused)})",
            f"events that arrived            {len(self.arrivals.got):7}",
            f"  of them repeats              {self.arrivals.repeated:9}",
            *self.findings.lines,
        ]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in sorted(counts.items()))


async def kill_processes(
    running: Stack,
    database: Postgres | None,
    kills: int,
    seed: int,
    each: Callable[[], object] = lambda: None,
) -> Report:
    """Kills the processes of a service under load, and finds what was lost."""
    async with receiving_events(running) as arrivals:
        async with reporters(running) as returned:
            async with callers(running.service) as at_work:
                killer = ProcessKiller(running, at_work.calls, database, random.Random(seed))
                await killer.run(kills, each)
            await asyncio.to_thread(left_undone, running.database_url)
        found = await asyncio.to_thread(audit, running, at_work.calls)
        lost = await asyncio.to_thread(returned.wrong)
        found.wrong |= {what: who for what, who in lost.items() if who}
        found.wrong |= await asyncio.to_thread(arrivals.wrong, running, _EVENTS_WITHIN_S)
    return Report(killer, at_work.calls, found, arrivals, returned)


@contextmanager
def exposed(kind: str, folder: Path) -> Iterator[tuple[Stack, Postgres | None]]:
    """Runs a service of two servers and a worker on a database of that kind."""
    with ExitStack() as open_:
        database = open_.enter_context(postgres()) if kind == "postgresql" else None
        url = database.url if database else ""
        running = stack(folder / "var", url, worker=True, workers=2, bounce_secret=RELAY_SECRET)
        yield open_.enter_context(running), database
