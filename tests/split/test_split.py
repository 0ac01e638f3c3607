"""Shared out over several databases, resellers get the answers that they get from one."""

from pathlib import Path

from tests.split.simulation import simulate
from tests.storage.conftest import postgresql  # noqa: F401 - a fixture
from tests.storage.databases import Databases


async def test_each_call_is_answered_by_one_of_several_databases_as_by_one(
    postgresql: Databases,  # noqa: F811
    tmp_path: Path,
) -> None:
    report = await simulate(postgresql, tmp_path, databases=3, resellers=20, calls=120, seed=2)
    assert report.differed == []
    assert report.findings == []
    assert min(report.calls) > 0
    assert report.moved["customers"] > 0 < report.moved["deliveries"] + report.moved["attempts"]
    assert report.done["an answer by the link"] > 0
