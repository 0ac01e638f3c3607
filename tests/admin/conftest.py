from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.commands import cli
from server.settings_sources import read_settings
from server.storage import migrate

Command = Callable[..., Result]


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database."""
    folder = tmp_path / "var"
    folder.mkdir()
    monkeypatch.setenv("BILLING_VAR", str(folder))
    migrate(read_settings().database)
    return folder


@pytest.fixture
def command(var: Path) -> Command:
    """Runs a command line that must succeed, or end with `code`."""

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == code, result.output
        return result

    return run
