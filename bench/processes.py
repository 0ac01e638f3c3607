"""Programs under measurement: started, looked at by the operating system's eyes, stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from files.child_processes import ends_with_parent

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0


@dataclass(frozen=True)
class Running:
    """A running program."""

    name: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Returns the CPU time, user and system, of all its threads so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    def resident_bytes(self) -> int:
        """Returns its resident size."""
        return int(self.process.memory_info().rss)


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Runs a program until the block ends; the block begins when `ready` says so.

    Raises RuntimeError with the end of its log if it never does.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BILLING_")}
    paths = f"{ROOT}{os.pathsep}{ROOT / 'gen'}"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean, "PYTHONPATH": paths, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_parent(signal.SIGTERM),
        )
    try:
        give_up_at = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > give_up_at:
                end = log.read_text(errors="replace").strip().splitlines()[-5:]
                raise RuntimeError(f"{name} did not start: {' / '.join(end)} ({log})")
            time.sleep(0.005)
        yield Running(name, psutil.Process(process.pid))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]
