"""One fault under load: what callers were told, what became of it, and how long they had no answer."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx

from tests.chaos.audit import Findings, audit
from tests.chaos.load import AcknowledgedCalls
from tests.chaos.stack import Stack, stack
from tests.failover.cluster import Cluster, cluster
from tests.failover.commit_probe import commit_probe, longest_gap
from tests.failover.database_routes import route
from tests.failover.faults import Fault
from tests.failover.load import CallerReport, load
from tests.failover.network import Network
from tests.service import eventually
from tests.storage.databases import query

# How much longer than the database callers may be without answers.
LIMIT_S = 3.0
# How long an invitation may take to be made, mailed and known as ended to another server, by the median,
# once the database is back; or twice as long as before the fault, on a machine that is that slow. Servers
# that had to look for themselves, each second, would take longer.
ACROSS_LIMIT_S = 0.4
# What is not our doing: how often the probe commits, and that an answer takes its time.
_TOLERANCE_S = 0.5
_END_WITHIN_S = 60.0
_WRITTEN_WITHIN_S = 30.0
_NOT_DONE = "STORAGE_UNAVAILABLE"


class Row(NamedTuple):
    """A line of the table: of a fault, the numbers that it came to."""

    fault: str
    acknowledged: int
    lost: int
    stuck: int
    twice: int
    two_for_a_key: int
    unmailed: int
    backwards: int
    refused_and_done: int
    no_retry_info: int
    tracebacks: int
    internal: int
    check: int
    without_answer_s: float
    away_s: float
    new_leader_after_s: float | None
    slowest_s: float
    across_before_s: float
    across_s: float
    limit_s: float
    across_limit_s: float

    @property
    def problems(self) -> list[str]:
        """What must be 0 and is not."""
        zeros = Row._fields[2 : Row._fields.index("without_answer_s")]
        return [f"{name} {getattr(self, name)}" for name in zeros if getattr(self, name)]

    @property
    def is_too_long(self) -> bool:
        """Whether callers had no answer for longer than the database was away, and the limit."""
        return self.without_answer_s > self.away_s + self.limit_s + _TOLERANCE_S

    @property
    def is_slow_across(self) -> bool:
        """Whether servers don't tell each other at once, when all of it is over."""
        return self.across_s > max(self.across_limit_s, 2 * self.across_before_s)


@dataclass
class Drill:
    """Machines and a service on them, ready for one fault after the other."""

    cluster: Cluster
    stack: Stack
    folder: Path
    before_s: float = 3.0
    after_s: float = 8.0
    limit_s: float = LIMIT_S
    across_limit_s: float = ACROSS_LIMIT_S

    def run(self, *faults: Fault) -> Row:
        """Has faults come and go under load, one after the other."""
        logs = self._logs()
        before = {log: log.stat().st_size for log in logs}
        leader = self.cluster.leader().name
        with commit_probe(self.cluster) as seen:
            with load(self.stack.service, self.folder) as made:
                time.sleep(self.before_s)
                began = time.time()
                for fault in faults:
                    fault.run(self.cluster, self.stack, fault.hold_s)
                    self.cluster.leader()
                over = time.time()
                time.sleep(self.after_s)
                ended = time.time()
            self.cluster.whole()
        report = made.report
        calls = AcknowledgedCalls(
            acknowledged=report.acknowledged, contradictions=report.contradictions
        )
        found = audit(self.stack, calls, _END_WITHIN_S, self.cluster.url)
        new = b"".join(_from(log, before.get(log, 0)) for log in self._logs())
        answers, internal = self._answers(before.get(self._access_log, 0), ended)
        return Row(
            ", ".join(fault.name for fault in faults),
            acknowledged=len(report.acknowledged),
            lost=_count(found, "acknowledged and lost", "failed", "done without a customer"),
            stuck=_count(found, "left undone"),
            twice=_count(found, "one call, two invitations", "repeats with another Message-ID"),
            two_for_a_key=len(report.contradictions),
            unmailed=_count(found, "without an e-mail"),
            backwards=len(report.backwards),
            refused_and_done=len(self._done_all_the_same(report)),
            no_retry_info=report.without_retry_info,
            tracebacks=new.count(b"Traceback (most recent call last)"),
            internal=internal,
            check=_count(
                found,
                "found by server check",
                "customers without an operation or an invitation",
            ),
            without_answer_s=longest_gap(answers, began, ended),
            away_s=seen.away_s(began, ended),
            new_leader_after_s=seen.new_leader_after_s(began, leader),
            slowest_s=report.slowest_s,
            across_before_s=median([took for at, took in report.across if at < began] or [0.0]),
            across_s=median([took for at, took in report.across if at > over] or [inf]),
            limit_s=self.limit_s,
            across_limit_s=self.across_limit_s,
        )

    def _answers(self, start: int, ended: float) -> tuple[list[float], int]:
        """Returns when the gateway gave answers, and how many were 500, from a place of its log on.

        The gateway writes it every ten seconds, so a last call is waited for.
        """
        service = self.stack.service
        httpx.get(f"{service.rest}/operations/none", headers=service.headers)

        def whole() -> _Logged | None:
            found = _logged(_from(self._access_log, start))
            return found if found.last > ended else None

        found = eventually(whole, _WRITTEN_WITHIN_S)
        return found.answers, found.internal

    @property
    def _access_log(self) -> Path:
        return self.stack.service.var / "logs" / "access.log"

    def _logs(self) -> list[Path]:
        return [*(self.stack.service.var / "logs").glob("*.log"), self.stack.service.output]

    def _done_all_the_same(self, report: CallerReport) -> list[str]:
        """Returns who was invited by calls without a key that were told that nothing was done."""
        refused = [who for who, reason in report.refused_once.items() if reason == _NOT_DONE]
        done = query(
            self.cluster.url,
            "SELECT email FROM customers WHERE email = ANY(:refused)",
            refused=refused,
        )
        return [email for (email,) in done]


@contextmanager
def drill(
    folder: Path,
    programs: Path,
    through: str = "",
    network: Network | None = None,
    loop_wait_s: int = 5,
) -> Iterator[Drill]:
    """Runs machines and service; `through` is what stands between: "", "haproxy" or "pgbouncer"."""
    with ExitStack() as open_:
        machines = open_.enter_context(cluster(folder, programs, network, loop_wait_s))
        url, settings = open_.enter_context(route(machines, through, folder))
        running = open_.enter_context(stack(folder / "var", url, workers=2, **settings))
        yield Drill(machines, running, folder)


def _count(found: Findings, *what: str) -> int:
    return sum(len(found.wrong.get(each, ())) for each in what)


def _from(log: Path, start: int) -> bytes:
    with log.open("rb") as lines:
        lines.seek(start)
        return lines.read()


class _Logged(NamedTuple):
    """When the gateway gave answers, none of them to come back; how many were 500; and the last."""

    answers: list[float]
    internal: int
    last: float


def _logged(log: bytes) -> _Logged:
    answers, internal, last = [], 0, 0.0
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last one, half written
            continue
        last = datetime.fromisoformat(entry["at"]).timestamp() + entry["duration_ms"] / 1000
        internal += entry["status"] == 500 or entry["grpc_status"] in (2, 13)
        if entry["status"] == 200 and entry["grpc_status"] in (0, None):
            answers.append(last)
    return _Logged(answers, internal, last)
