"""Health tells the truth: a database that is away makes processes unready, and they come back."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.monitoring.test_metrics import addresses, monitored
from tests.service import ROOT, Service, environment, eventually, running
from tests.storage.databases import Databases, postgres_server, query

AWAY = (
    "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
)
BACK = ("ALTER DATABASE {name} ALLOW_CONNECTIONS true",)
READ_ONLY = (
    "ALTER DATABASE {name} SET default_transaction_read_only = on",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
)
WRITABLE = (
    "ALTER DATABASE {name} RESET default_transaction_read_only",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
)


@contextmanager
def worker(env: dict[str, str], log: Path) -> Iterator[str]:
    """Runs a worker alone; gives where it tells of itself."""
    command = [sys.executable, "-m", "server", "worker", "--dev"]
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=said)
    try:
        yield eventually(lambda: monitored(log))
    finally:
        process.terminate()
        process.wait(30)


def asked(address: str, path: str) -> tuple[int, Any]:
    answer = httpx.get(f"{address}{path}")
    return answer.status_code, answer.json()


def test_a_database_that_is_away_is_told_within_seconds(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("health")
    with postgres_server() as server_url:
        databases = Databases("postgresql", folder, server_url)
        url = databases.migrated(folder)
        name = url.rpartition("/")[2].partition("?")[0]

        def tell(statements: tuple[str, ...]) -> None:
            for statement in statements:
                query(server_url, statement.format(name=name))

        # Nobody listens for e-mails: that makes nothing unready.
        env = environment(folder / "var", database_url=url, smtp_url="smtp://127.0.0.1:9")
        with (
            running(folder / "var", env) as service,
            worker(env, folder / "worker.log") as alone,
        ):
            where = addresses(service) | {"worker": alone}
            eventually(lambda: _are_ready(where))
            for address in where.values():
                assert asked(address, "/livez")[0] == 200
            operation = service.invite()["id"]
            assert asked(where["server"], "/readyz")[1]["status"] == "ready"
            for away, back, why in (
                (AWAY, BACK, "the database can't be"),
                (READ_ONLY, WRITABLE, "the database is read-only"),
            ):
                began = time.monotonic()
                tell(away)
                _is_unready(where, why)
                assert time.monotonic() - began > 2.5
                _refuses_at_once(service, operation)
                tell(back)
                eventually(lambda: _are_ready(where))
                assert service.operation(operation)["done"] is False
                assert service.invite()["id"]
        databases.drop()


def _is_unready(where: dict[str, str], why: str) -> None:
    for role in ("server", "worker", "gateway"):
        reason = "none of 1 servers" if role == "gateway" else why
        # What it says first depends on what was under way: a connection, or a statement.
        eventually(lambda: _says(where[role], reason))  # noqa: B023 - called at once
        assert asked(where[role], "/livez")[0] == 200


def _says(address: str, reason: str) -> bool:
    """Returns whether a process says that it is not ready, and for this reason."""
    status, body = asked(address, "/readyz")
    if status == 200:
        return False
    assert (status, body["status"]) == (503, "not ready")
    return any(found.startswith(reason) for found in body["checks"].values())


def _are_ready(where: dict[str, str]) -> bool:
    return all(asked(address, "/readyz")[0] == 200 for address in where.values())


def _refuses_at_once(service: Service, operation: str) -> None:
    calls: list[Callable[[], Any]] = [lambda: service.operation(operation), service.invite]
    for call in calls:
        took_s = []
        for _ in range(3):  # of which a busy machine may hold one up
            began = time.monotonic()
            with pytest.raises(AssertionError, match="STORAGE_UNAVAILABLE"):
                call()
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 3
