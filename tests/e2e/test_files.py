"""What a run keeps: its owner's alone, and one run's at a time."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import ROOT, Service, environment, eventually, refusal, running


def too_wide(var: Path) -> dict[str, str]:
    """Returns the files and folders that others may use, with their modes."""
    found = [var, *var.rglob("*")]
    modes = {path: path.lstat().st_mode for path in found if not path.is_symlink()}
    return {str(path): oct(mode) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_all_is_its_owners_alone(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running(var, workers=2) as service:
        service.finished(service.invite()["id"])
        (var / "output.txt").chmod(0o600)  # the test's own
        assert too_wide(var) == {}
        kept = {path.name for path in var.rglob("*")}
        assert {"billing.db", "billing.db-wal", "access.log", "server-1.sock", "dev.env"} <= kept
    for path in (var, *var.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    with running(var, service.environment) as service:
        service.finished(service.invite()["id"])
        (var / "output.txt").chmod(0o600)
        assert too_wide(var) == {}


def test_a_second_run_in_the_same_folder_is_refused(service: Service) -> None:
    before = {path: path.stat().st_mtime_ns for path in service.var.glob("dev.*")}
    line = refusal(environment(service.var), "dev")
    assert f"{service.var} is in use by another run, process {service.process.pid}" in line
    assert {path: path.stat().st_mtime_ns for path in service.var.glob("dev.*")} == before
    line = refusal(environment(service.var), "gateway")
    assert f"in use by another gateway, process {service.process.pid}" in line
    service.finished(service.invite()["id"])


def test_another_server_on_the_same_database_is_welcome(service: Service, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/another.sock"
    env = {**service.environment, "BILLING_BOUNCE_DOMAIN": "bounces.example.com"}
    command = [sys.executable, "-m", "server", "serve", "--dev", "--listen", address]
    log = tmp_path / "log"
    with log.open("wb") as out:
        another = subprocess.Popen(command, cwd=ROOT, env=env, stderr=out)
    try:
        eventually(lambda: b"serving at" in log.read_bytes())
        assert "another process does" in refusal(env, "serve", "--dev", "--listen", address)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{tmp_path}/another.sock")
    finally:
        another.send_signal(signal.SIGINT)
        assert another.wait(30) == 0, log.read_text()
    long = refusal(env, "serve", "--dev", "--listen", f"unix:/tmp/{'x' * 110}")
    assert "bytes at most" in long


def test_a_run_that_was_killed_is_followed_at_once(tmp_path: Path) -> None:
    env = environment(tmp_path / "var", workers=2)
    for _ in range(2):
        with running(tmp_path / "var", env) as service:
            service.finished(service.invite()["id"])
            service.process.kill()
            service.process.wait()
            (service.var / "dev.json").unlink()  # by which `running` knows that all is up
    with running(tmp_path / "var", env) as service:
        service.finished(service.invite()["id"])
        assert service.stop() == 0


@pytest.mark.parametrize("words", [("dev",), ("migrate",)])
def test_a_folder_that_can_not_be_made_is_one_line(tmp_path: Path, words: tuple[str]) -> None:
    (tmp_path / "file").write_text("")
    line = refusal(environment(tmp_path / "file" / "var"), *words)
    assert line.startswith("error: BILLING_VAR: ")


def test_a_folder_with_a_long_path(tmp_path: Path) -> None:
    with running(tmp_path / ("x" * 100) / "var", workers=2) as service:
        service.finished(service.invite()["id"])
