import logging
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from server.storage.sql import batches, transactions
from server.telemetry.logs import OURS
from tests.service import RELAY_SECRET, Service, running

# Long, and each of them needs much of the machine: they begin at once, and run one after the other.
DRILLS = ("tests/chaos/", "tests/strangers/", "tests/fuzz/")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service, shared by tests that only call it."""
    var = tmp_path_factory.mktemp("service") / "var"
    with running(var, bounce_secret=RELAY_SECRET) as started:
        yield started


@pytest.fixture(autouse=True)
def _log_levels_as_before() -> Iterator[None]:
    """Some tests run commands in this process, which set the level of all that is logged."""
    before = {name: logging.getLogger(name).level for name in (None, *OURS)}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def _patient_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine that stands still for seconds is no silent database."""
    monkeypatch.setattr(batches, "_ANSWER_WITHIN_S", 60.0)
    monkeypatch.setattr(transactions, "SILENT_S", dict.fromkeys(transactions.Phase, 60.0))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(DRILLS))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Each file in one process, and all drills in one."""

    def _split_scope(self, nodeid: str) -> str:
        return "drills" if nodeid.startswith(DRILLS) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)  # `make mutants` runs without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    config.option.loadscopereorder = False  # in the order above
    return Scheduling(config, log)
