"""PgBouncer in front of a PostgreSQL, giving each transaction whichever session is free."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.failover.parts import program
from tests.service import free_ports

_START_S = 20.0
# docs/operators/failover.md has the last three lines, with reasons.
INI = """
[databases]
postgres = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
default_pool_size = {sessions}
pool_mode = transaction
server_login_retry = 0.25
query_wait_timeout = 2
"""


@contextmanager
def pgbouncer(server: str, user: str | None, sessions: int) -> Iterator[str]:
    """Runs it before a server, named as PgBouncer does; gives the URL of the database behind it."""
    command = program("pgbouncer")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ini = folder / "pgbouncer.ini"
        ini.write_text(INI.format(server=server, port=port, sessions=sessions))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, str(ini)], stdout=log, stderr=log, user=user)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        try:
            _until_there(url, process, folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _until_there(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=3):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
