"""What can befall a database while a service is at work on it. Each fault lasts for a block."""

import os
import resource
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg

from tests.chaos.postgres import Postgres
from tests.chaos.stack import Stack


def _file(running: Stack) -> Path:
    return Path(running.database_url.removeprefix("sqlite:///"))


@contextmanager
def locked_file(running: Stack) -> Iterator[None]:
    """Another process holds SQLite's lock."""
    other = sqlite3.connect(_file(running), isolation_level=None)
    other.execute("PRAGMA busy_timeout = 10000")
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def no_room_for_files(running: Stack) -> Iterator[None]:
    """The processes may not make any file longer: the system's limit, as for a quota."""
    pids = [*running.servers(), *([running.worker.pid] if running.worker else [])]
    for pid in pids:
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, most))
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def restarted(database: Postgres) -> Iterator[None]:
    """The server stops in good order, and is away."""
    database.stop()
    try:
        yield
    finally:
        database.start()


@contextmanager
def frozen(database: Postgres) -> Iterator[None]:
    """The server answers nothing any more, and its connections stay: a machine that hangs."""
    pids = database.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def connections_taken(database: Postgres) -> Iterator[None]:
    """Others have taken all connections that the server allows."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'taker' AND backend_type = 'client backend'"
    with ExitStack() as taken:
        first = psycopg.connect(database.url, autocommit=True, application_name="taker")
        taken.enter_context(first)
        cut_now = -1
        while cut_now:  # whoever was cut may have come back first
            cut_now = len(first.execute(cut).fetchall())
            with suppress(psycopg.OperationalError):
                while True:
                    more = psycopg.connect(database.url, application_name="taker")
                    taken.enter_context(more)
        yield


@contextmanager
def read_only(database: Postgres) -> Iterator[None]:
    """The server takes no writes, as a standby after a switch."""
    database.run("ALTER SYSTEM SET default_transaction_read_only = on")
    database.run("SELECT pg_reload_conf()")
    database.cut_connections()
    try:
        yield
    finally:
        database.run("ALTER SYSTEM RESET default_transaction_read_only")
        database.run("SELECT pg_reload_conf()")
        database.cut_connections()


@contextmanager
def locked_table(database: Postgres) -> Iterator[None]:
    """Another client holds a lock that everybody needs."""
    with psycopg.connect(database.url) as other:
        other.execute("SET statement_timeout = 0")
        other.execute("LOCK TABLE operations IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def full_disk(database: Postgres) -> Iterator[None]:
    """Nothing more fits beside the database's files; they must be on a disk of their own."""
    ballast = database.data.parent / "ballast"
    with ballast.open("wb") as out, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    os.write(out.fileno(), bytes(size))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Mounts a disk in memory; who is not root must be allowed to by sudo."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", folder]
        subprocess.run([*as_root, *mount], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run([*as_root, "umount", "--lazy", folder], check=True)
