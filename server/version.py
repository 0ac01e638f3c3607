"""Which release this is."""

import importlib.metadata
import tomllib
from pathlib import Path


def current() -> str:
    """Returns the release's number: that of the installed wheel, else that of the checkout."""
    project = Path(__file__).parents[1] / "pyproject.toml"
    if project.exists():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return importlib.metadata.version("billing-service")
