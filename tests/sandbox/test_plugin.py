"""The plugin for pytest, as who installs the wheel has it: the examples are run by it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.service import ROOT

EXAMPLES = ROOT / "examples" / "python"
FAILS = """
def test_that_fails(billing):
    billing.call("GET", "/v1/operations")
    billing.call("GET", "/v1/operations/nothing")
"""


def pytest_in(folder: Path, site: Path, *words: str) -> str:
    """Runs pytest in a folder, with the wheel installed, and returns what it printed."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BILLING_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_examples_run_side_by_side(site: Path, tmp_path: Path) -> None:
    for file in EXAMPLES.glob("test_*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "test_fails.py").write_text(FAILS)
    printed = pytest_in(tmp_path, site, "-n", "2")
    assert re.search(r"\n=+ 1 failed, 6 passed in", printed), printed
    # The one that failed shows what the service says of its reseller's calls, and no others.
    (_, log) = printed.split("- Log of the billing service -")
    lines = re.findall(r"^.* billing\.calls: (\S+) (\S+)", log, re.MULTILINE)
    assert [code for _, code in lines][-1] == "NOT_FOUND", printed
    assert not re.search("AdvanceClock|Invite", log)
    left = subprocess.run(
        ["pgrep", "-f", f"{tmp_path}"], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""


def test_nothing_is_read_before_it_is_used(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    ours = [name for name in sys.modules if name.startswith('billing_service')]\n"
        "    assert sorted(ours) == ['billing_service', 'billing_service.testing',\n"
        "        'billing_service.testing.plugin']\n"
    )
    assert "1 passed" in pytest_in(tmp_path, site)
