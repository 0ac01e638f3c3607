"""The short form of `make upgrade-drill`: a few seconds of load by one caller, on each database."""

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.chaos.postgres import postgres
from tests.upgrade.drill import Outcome, drill, release_before, unpack


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the latest release with an earlier schema."""
    try:
        return unpack(release_before(), tmp_path_factory.mktemp("release"))
    except subprocess.CalledProcessError:
        pytest.skip("the history of the repository is needed")


async def drilled(kind: str, release: Path, folder: Path) -> Outcome:
    with postgres() if kind == "postgresql" else nullcontext() as database:
        return await drill(release, folder, database.url if database else "", load_s=0.2, callers=1)


@pytest.mark.timeout(400)  # for its processes' starts, on a machine with other work
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_no_call_fails_while_servers_are_upgraded(
    kind: str, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        outcome = await drilled(kind, release, tmp_path_factory.mktemp("first"))
    except TimeoutError:
        outcome = None
    # A machine that has no time for the service has calls refused, upgrade or not: once more.
    if outcome is None or (outcome.failures and not outcome.lost):
        outcome = await drilled(kind, release, tmp_path_factory.mktemp("again"))
    assert outcome.failures == {}
    assert outcome.lost == []
    assert outcome.answers["POST 200"] == len(outcome.acknowledged) > 0
