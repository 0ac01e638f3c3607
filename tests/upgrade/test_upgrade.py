"""The short form of `make upgrade-drill`: a few seconds of load by one caller, on each database."""

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.chaos.postgres import postgres
from tests.upgrade.drill import drill, release_before, unpack


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the latest release with an earlier schema."""
    try:
        return unpack(release_before(), tmp_path_factory.mktemp("release"))
    except subprocess.CalledProcessError:
        pytest.skip("the history of the repository is needed")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_no_call_fails_while_servers_are_upgraded(
    kind: str, release: Path, tmp_path: Path
) -> None:
    with postgres() if kind == "postgresql" else nullcontext() as database:
        outcome = await drill(
            release, tmp_path, database.url if database else "", load_s=0.2, callers=1
        )
    assert outcome.failures == {}
    assert outcome.lost == []
    assert outcome.answers["POST 200"] == len(outcome.acknowledged) > 0
