"""Killed at random instants under load, the service loses nothing; `make chaos` does it for longer."""

import gc

import pytest

from tests.chaos.postgres import Postgres
from tests.chaos.process_killer import kill_processes
from tests.chaos.stack import Stack

# What a caller may be told while processes die: to come back, or nothing by a broken connection.
# Any other status would be a wrong answer.
TOLD = {
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED",
    "503",
    "429",
    "ReadError",
    "WriteError",
    "ConnectError",
    "RemoteProtocolError",
}


# A client's connection to a process that is killed just then may be left to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost(running: Stack, database: Postgres | None) -> None:
    report = await kill_processes(running, database, kills=6, seed=1)
    print(*report.lines, sep="\n")
    assert not report.findings.wrong
    assert set(report.returned.ways) == {"SMTP", "HTTP"}
    assert len(report.arrivals.got) > report.findings.done
    assert report.findings.done == report.findings.acknowledged > 0
    assert {answer.refusal for _, _, answer in report.calls.refusals} <= TOLD
    gc.collect()
