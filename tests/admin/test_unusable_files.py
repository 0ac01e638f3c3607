"""Files, disks and databases that can't be used are told in one line, by every command."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import click
import pytest
from click.testing import CliRunner

from server import commands
from server.config import SettingsError
from server.storage.sql.connections import Database
from tests.admin.conftest import Command
from tests.service import ROOT

COMMANDS = ("migrate", "check", "mail status", "mail queue", "resellers list", "audit list")


def _said(*words: str) -> str:
    result = CliRunner().invoke(commands.cli, words)
    assert result.exit_code == 1
    said = str(result.exception) if isinstance(result.exception, SettingsError) else result.output
    assert "\n" not in said.strip()
    return said


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda file: file.write_bytes(os.urandom(20_000)), "is no SQLite database"),
        (lambda file: os.truncate(file, 100_000), "the database is damaged"),
        (lambda file: (file.unlink(), file.mkdir()), "can't be opened|there is no database at"),
    ],
    ids=["no database", "cut off", "folder"],
)
def test_a_file_that_is_no_sound_database_is_told(
    var: Path, words: str, harm: Callable[[Path], object], told: str
) -> None:
    harm(var / "billing.db")
    said = _said(*words.split())
    assert any(each in said for each in told.split("|")), said


@pytest.mark.parametrize("words", COMMANDS)
def test_a_database_that_lacks_a_column_is_told(var: Path, words: str) -> None:
    with Database(f"sqlite:///{var / 'billing.db'}").engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE operations DROP COLUMN origin")
    assert "lacks operations.origin" in _said(*words.split())


@pytest.mark.parametrize("words", COMMANDS)
def test_a_server_that_is_not_there_is_told(
    var: Path, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_DATABASE_URL", f"postgresql://u:p@/d?host={var}")
    assert "there is no socket of a server in its folder" in _said(*words.split())


def test_the_url_that_goes_past_a_pooler_is_named_where_it_is_used(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"postgresql://u:p@/d?host={var}"
    monkeypatch.setenv("BILLING_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d")
    monkeypatch.setenv("BILLING_DATABASE_POOLED", "1")
    monkeypatch.setenv("BILLING_DATABASE_DIRECT_URL", gone)
    for words in ("check", "migrate"):
        assert _said(words).startswith("BILLING_DATABASE_DIRECT_URL: "), words


def test_keys_that_could_not_be_written_are_not_there(var: Path, command: Command) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        said = _said("dkim", "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "can't be written to" in said
    assert list((var / "dkim").glob("*.pem")) == []
    command("dkim", "new")


def test_a_file_that_may_not_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def forbidden() -> None:
        raise PermissionError(13, "Permission denied", "/var/lib/billing/file")

    monkeypatch.setattr(commands, "cli", forbidden)
    monkeypatch.setattr(sys, "argv", ["billing-server"])
    monkeypatch.setattr(os, "umask", lambda _: None)  # it would hold for all tests that follow
    with pytest.raises(SystemExit, match="1"):
        commands.main("billing-server")
    assert capsys.readouterr().err == "error: /var/lib/billing/file: Permission denied\n"


def _run(words: str, var: Path, output: IO[str] | int) -> subprocess.CompletedProcess[str]:
    """Runs a command that writes there, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "server", *words.split()],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "BILLING_VAR": str(var)},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_output_without_room_is_one_line(var: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = _run("settings", var, full)
    assert (done.returncode, done.stderr) == (1, "error: output: No space left on device\n")


@pytest.mark.parametrize(
    "words", ["settings", "check", "--help", "check --help", "mail preview", "mail status"]
)
def test_output_that_nobody_reads_ends_a_command_quietly(var: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _run(words, var, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
