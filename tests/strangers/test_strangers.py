"""Each attack in small numbers; `make strangers` runs them in full."""

from pathlib import Path

import pytest

from tests.strangers.attacks import all_attacks
from tests.strangers.campaign import run


@pytest.mark.parametrize("name", all_attacks())
async def test_others_are_served_during_an_attack(name: str, tmp_path: Path) -> None:
    report = await run(name, tmp_path, small=True, seconds=2)
    assert report.broken == []
