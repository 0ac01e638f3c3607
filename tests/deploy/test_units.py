"""The systemd units, of which `make deploy-check` sees the syntax and the hardening."""

from pathlib import Path

import pytest

from tests.service import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_goes_on_after_a_database_was_away(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    # systemd gives up what fails five times in ten seconds, and what needs it never begins.
    assert "StartLimitIntervalSec=0" in lines
    assert any(line.startswith("Restart=") for line in lines)
    # It would be stopped with what it requires, as when the schema is brought up to date.
    assert not any(line.startswith(("Requires=", "BindsTo=", "PartOf=")) for line in lines)
