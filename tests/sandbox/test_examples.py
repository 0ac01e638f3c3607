"""The examples in other languages that can be run here."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import command_folder
from tests.service import ROOT


# The machine may have much else to do.
@pytest.mark.timeout(200)
def test_the_example_for_node_js_passes(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BILLING_")}
    path = f"{command_folder(tmp_path)}:{clean['PATH']}"
    done = subprocess.run(
        ["node", "--test", str(ROOT / "examples" / "node" / "invitation.test.mjs")],
        cwd=tmp_path,
        env={**clean, "PATH": path, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 1" in done.stdout
