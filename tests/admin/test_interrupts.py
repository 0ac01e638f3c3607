"""Ctrl-C ends a command with one line, whenever it comes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.admin.conftest import Command
from tests.service import ROOT


def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path) -> None:
    # What is imported first waits for us.
    (tmp_path / "click.py").write_text(
        "import sys, time\nsys.stderr.write('loading\\n')\nsys.stderr.flush()\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "server", "dev"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        # What runs in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"stopped\n"
        assert process.wait(30) == 130


def test_ctrl_c_while_a_command_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("server.database_commands.check_database", interrupted)
    done = command("check", code=130)
    assert done.stderr == "stopped\n"
