"""The plugin for pytest, as who installs the wheel has it: the examples are run by it."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.service import ROOT, eventually

EXAMPLES = ROOT / "examples" / "python"
FAILS = """
def test_that_fails(billing):
    billing.call("GET", "/v1/operations")
    billing.call("GET", "/v1/operations/nothing")
"""


# Whoever tests a program of its own has such folders, and fixtures with any names.
CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def settings_of_another_service(monkeypatch):
    monkeypatch.setenv("BILLING_WORKERS", "3")

@pytest.fixture
def service(billing):
    return billing.reseller_id

def pytest_runtest_makereport(item, call):
    pass
"""
KILLS = """
import os
import signal

def test_that_is_killed(billing):
    if not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    billing.call("GET", "/v1/operations")
"""


def left_behind(folder: Path) -> list[str]:
    """Returns the command lines of processes that have to do with a folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
            if str(folder).encode() in told:
                found.append(told.decode(errors="replace")[:200])
    return found


def pytest_in(folder: Path, site: Path, *words: str) -> str:
    """Runs pytest in a folder, with the wheel installed, and returns what it printed.

    What it starts keeps all in a folder `kept` there.
    """
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BILLING_", "PYTEST_"))
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("--basetemp", str(folder / "kept"), *words),
        ],
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
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("server", "gateway", "files", "contract", "google", "billing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this is another project')")
    printed = pytest_in(tmp_path, site, "-n", "2")
    assert re.search(r"\n=+ 1 failed, 6 passed in", printed), printed
    # The one that failed shows what the service says of its reseller's calls, and no others.
    (_, log) = printed.split("- Log of the billing service -")
    lines = re.findall(r"^.* billing\.calls: (\S+) (\S+)", log, re.MULTILINE)
    assert [code for _, code in lines][-1] == "NOT_FOUND", printed
    assert not re.search("AdvanceClock|Invite", log)
    assert left_behind(tmp_path / "kept") == []


def test_a_run_that_is_killed_leaves_nothing_and_the_next_one_works(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_kills.py").write_text(KILLS)
    assert "passed" not in pytest_in(tmp_path, site)
    assert (tmp_path / "killed").exists()
    eventually(lambda: not left_behind(tmp_path / "kept"))
    printed = pytest_in(tmp_path, site)
    assert "1 passed" in printed, printed
    assert left_behind(tmp_path / "kept") == []


def test_nothing_is_read_before_it_is_used(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_nothing():\n"
        "    ours = [name for name in sys.modules if name.startswith('billing_service')]\n"
        "    assert sorted(ours) == ['billing_service', 'billing_service.testing',\n"
        "        'billing_service.testing.plugin']\n"
    )
    assert "1 passed" in pytest_in(tmp_path, site)
