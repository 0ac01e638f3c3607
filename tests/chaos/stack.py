"""The whole service, with a worker of its own beside it, all of whose processes may be killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.service import ROOT, Service, environment, running

# Claims of the dead are taken over soon; mail that fails is tried again soon and for long.
HASTY = {
    # Long, so that a restart that waits for it stands out.
    "shutdown_s": 60,
    "mail_lease_s": 3,
    "mail_first_retry_s": 0.2,
    "mail_longest_retry_s": 600,
    "rate_limit": 0,
    "webhook_allow_private": 1,
}
# What the development service takes reports for.
_BOUNCE_DOMAIN = "bounces.example.com"


class WorkerProcess:
    """`python -m server worker`, started again each time it dies, until stopped."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self._env = env
        self._log = log
        self._stopping = threading.Event()
        self._process = self._begin()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._stopping.set()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        self._watching.join(60)

    def _watch(self) -> None:
        while True:
            self._process.wait()
            # What a supervisor waits, so that a database that is away does not make it start again and again at once.
            if self._stopping.wait(0.2):
                return
            self._process = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "server", "worker", "--dev"],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


class Stack:
    """A running service, and who is who among its processes."""

    def __init__(self, service: Service, worker: WorkerProcess | None) -> None:
        self.service = service
        self.worker = worker

    @property
    def database_url(self) -> str:
        given = self.service.environment.get("BILLING_DATABASE_URL")
        return given or f"sqlite:///{self.service.var / 'billing.db'}"

    def servers(self) -> list[int]:
        """Returns the server processes that are there now, oldest first."""
        return sorted(self._children(b"--listen"))

    def gateways(self) -> list[int]:
        """Returns Envoy's process, if it is there now."""
        return self._children(b"--disable-hot-restart")

    def _children(self, word: bytes) -> list[int]:
        parent = self.service.process.pid
        found = []
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if word in words:
                    found.append(int(pid))
        return found


def kill(pid: int, how: signal.Signals = signal.SIGKILL) -> bool:
    """Returns whether there was such a process."""
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return False
    return True


def beside(env: dict[str, str]) -> dict[str, str]:
    """Returns the environment of one more process, which mails as those of `server dev` do."""
    return {
        "BILLING_SMTP_URL": f"smtp://127.0.0.1:{env['BILLING_SMTP_PORT']}",
        "BILLING_BOUNCE_DOMAIN": _BOUNCE_DOMAIN,
        **env,
    }


@contextmanager
def stack(
    var: Path, database_url: str = "", *, worker: bool = False, **settings: object
) -> Iterator[Stack]:
    """Runs the service on a database, the default being its own SQLite file."""
    env = environment(var, **{**HASTY, **settings})
    if database_url:
        env["BILLING_DATABASE_URL"] = database_url
    with running(var, env) as service:
        own = WorkerProcess(beside(env), var / "logs" / "worker.log") if worker else None
        try:
            yield Stack(service, own)
        finally:
            if own:
                own.stop()
