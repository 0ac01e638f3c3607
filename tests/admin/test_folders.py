"""Commands work on the one database that there is, whatever folder they are run from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import ROOT


def _run(
    folder: Path, *words: str, code: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command line of the service, or Python code, in the folder."""
    return subprocess.run(
        [sys.executable, *(("-c", code) if code else ("-m", "server", *words))],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_setting_it_is_the_checkouts(tmp_path: Path) -> None:
    code = "from server.settings_sources import read_settings; print(read_settings().database)"
    for folder in (tmp_path, ROOT):
        assert _run(folder, code=code).stdout == f"sqlite:///{ROOT}/var/billing.db\n"


def test_code_outside_of_a_checkout_asks_for_the_folder(tmp_path: Path) -> None:
    code = (
        f"from pathlib import Path; from server import config, settings_sources; config.serving._CHECKOUT = Path({str(tmp_path)!r})\n"
        "try: settings_sources.read_settings()\n"
        "except config.SettingsError as error: print(error)"
    )
    assert "BILLING_VAR" in _run(tmp_path, code=code).stdout
    assert _run(tmp_path, code=code, BILLING_VAR="here").stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--dev", "--listen", "unix:socket"),
        ("worker", "--dev"),
        ("check",),
        ("resellers", "list"),
        ("resellers", "add", "Horns and Hooves"),
        ("audit", "list"),
    ],
    ids=" ".join,
)
def test_only_migrate_makes_a_database(words: tuple[str, ...], tmp_path: Path) -> None:
    refused = _run(tmp_path, *words, BILLING_VAR="elsewhere")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "elsewhere") in line
    assert "BILLING_VAR" in line
    assert list(tmp_path.iterdir()) == []
    assert _run(tmp_path, "migrate", BILLING_VAR="elsewhere").returncode == 0
    assert (tmp_path / "elsewhere" / "billing.db").exists()


def test_a_database_that_has_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Not by connections either, which a running server makes again when one breaks."""
    code = (
        "from server.storage.sql.connections import Database\n"
        "try: Database('sqlite:///gone ?%.db').connect()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert "unable to open database file" in _run(tmp_path, code=code).stdout
    assert list(tmp_path.iterdir()) == []
