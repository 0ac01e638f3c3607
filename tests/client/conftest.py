"""`billing` as its users run it, against the whole service."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from client.cli import main
from tests.service import Service


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `billing` with these words, with a folder of profiles of its own."""
    monkeypatch.setenv("BILLING_CLI_CONFIG", str(tmp_path / "config"))

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["billing", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def dev(run: Run, service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same, as the reseller of the running service."""
    monkeypatch.setenv("BILLING_VAR", str(service.var))
    return lambda *words: run("--dev", *words)
