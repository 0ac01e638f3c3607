"""Each attack in small numbers; `make strangers` runs them in full, each on a service of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service
from tests.strangers.attack import no_fakes
from tests.strangers.attacks import all_attacks
from tests.strangers.campaign import attackable, run

ATTACKS = all_attacks()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with attackable(no_fakes, tmp_path_factory.mktemp("attacked")) as service:
        yield service


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].fakes is no_fakes])
async def test_others_are_served_during_an_attack(name: str, shared: Service) -> None:
    report = await run(name, shared, small=True, seconds=2)
    assert report.broken == []


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].fakes is not no_fakes])
async def test_others_are_served_while_another_service_hangs(name: str, tmp_path: Path) -> None:
    with attackable(ATTACKS[name].fakes, tmp_path) as service:
        report = await run(name, service, small=True, seconds=2)
    assert report.broken == []
