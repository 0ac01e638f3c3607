"""Modules are short enough to be read in one go."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Longer ones say why in their docstring, in a sentence that begins with REASON; tests need none.
LONGEST_WITHOUT_REASON = 300
LONGEST = 500
REASON = "Longer than others"


def modules() -> list[Path]:
    """Returns the modules that are written by hand."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [Path(line) for line in listed.stdout.splitlines()]
    return [path for path in paths if path.parts[0] != "gen" and (ROOT / path).exists()]


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_is_short_or_says_why_not(module: Path) -> None:
    text = (ROOT / module).read_text()
    lines = text.count("\n")
    assert lines <= LONGEST, f"{module} has {lines} lines; split it"
    if lines > LONGEST_WITHOUT_REASON and module.parts[0] != "tests":
        docstring = ast.get_docstring(ast.parse(text)) or ""
        assert REASON in docstring, f"{module} has {lines} lines; split it, or say “{REASON} …”"
