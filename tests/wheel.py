"""The wheel, built from this checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.service import ROOT


def built_wheel(folder: Path) -> Path:
    """Builds the wheel, and returns a folder with its files, as an environment would hold them."""
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder / "site")
    return folder / "site"
