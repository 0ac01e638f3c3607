import subprocess
import sys
from pathlib import Path

import pytest

from files.locks import LockedError, locked
from tests.service import ROOT

_HOLD = """
import sys
from pathlib import Path
from files.locks import locked
with locked(Path(sys.argv[1])) as was_killed:
    print(was_killed, flush=True)
    sys.stdin.read()
"""


def holding(file: Path) -> subprocess.Popen[str]:
    """Starts a process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "False\n"
    return process


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    process = holding(file)
    with pytest.raises(LockedError, match=f"^process {process.pid}$"), locked(file):
        pass
    process.communicate("")
    with locked(file) as was_killed:
        assert not was_killed
        with pytest.raises(LockedError), locked(file):
            pass
    assert file.read_bytes() == b""


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    process = holding(file)
    process.kill()
    process.communicate()
    with locked(file) as was_killed:
        assert was_killed
    with locked(file) as was_killed:
        assert not was_killed
