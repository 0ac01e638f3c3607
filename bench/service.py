"""The parts that are measured, each started with a folder and ports of its own."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.processes import Running, python, running
from server.config import Settings
from server.domain.access import Role, hash_token
from server.storage import migrate, open_storage

RESELLER = "bench-reseller"
TOKEN = "bench-" + "t" * 37  # as long as one of `make run`


def free_port() -> int:
    """Returns a port that nothing listened at a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(address: str) -> bool:
    """Tells whether a TCP connection can be made."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def healthy(address: str) -> bool:
    """Tells whether a gRPC server calls itself healthy."""
    if not listening(address):
        return False  # a channel that failed to connect would wait a second to try again
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def empty_server(
    folder: Path, command: Callable[..., list[str]] = python
) -> Iterator[tuple[Running, str]]:
    """Runs the empty servicer; gives its address. `command` makes the command from a module."""
    address = f"127.0.0.1:{free_port()}"
    with running(
        "empty", command("bench.empty", address), folder / "empty.log", lambda: listening(address)
    ) as process:
        yield process, address


def settings(folder: Path, database_url: str = "") -> Settings:
    """Returns settings of a service in a folder of its own."""
    return Settings(var=folder, database_url=database_url, rate_limit=0)


def prepare(chosen: Settings) -> None:
    """Makes the schema, a reseller and a token that may invite for it."""
    chosen.var.mkdir(parents=True, exist_ok=True)
    migrate(chosen.database)

    async def fill() -> None:
        storage = await open_storage(
            chosen.database, idempotency_lifetime=chosen.idempotency_lifetime
        )
        now = datetime.now(UTC)
        await storage.administration.add_reseller(RESELLER, "A reseller", now)
        await storage.administration.grant_role("bench", RESELLER, Role.EDITOR, now)
        await storage.administration.add_access_token(hash_token(TOKEN), "bench", now, None)
        await storage.close()

    asyncio.run(fill())


def operation_ids(chosen: Settings, most: int) -> list[str]:
    """Returns the IDs of the latest operations in the database."""

    async def read() -> list[str]:
        storage = await open_storage(
            chosen.database, idempotency_lifetime=chosen.idempotency_lifetime
        )
        found = (await storage.operations.list_operations([RESELLER], None, most, None)).rows
        await storage.close()
        return [row.record.id for row in found]

    return asyncio.run(read())


@contextmanager
def server(
    chosen: Settings,
    *,
    name: str = "server",
    worker: bool = False,
    smtp_url: str = "",
    command: Callable[..., list[str]] = python,
) -> Iterator[tuple[Running, str]]:
    """Runs one server process over a prepared database; gives its address. See `empty_server`."""
    address = f"127.0.0.1:{free_port()}"
    arguments = ["serve", "--dev", "--listen", address, "--worker" if worker else "--no-worker"]
    environment = {
        "BILLING_VAR": str(chosen.var),
        "BILLING_DATABASE_URL": chosen.database,
        "BILLING_RATE_LIMIT": "0",
        # Counted, and never reached.
        "BILLING_MAIL_PER_RESELLER_H": "1000000000",
        "BILLING_MAIL_PER_RESELLER_D": "1000000000",
        "BILLING_CUSTOMERS_PER_RESELLER": "1000000000",
    }
    if smtp_url:
        environment["BILLING_SMTP_URL"] = smtp_url
    with running(
        name,
        command("server", *arguments),
        chosen.var / "logs" / f"{name}.log",
        lambda: healthy(address),
        environment,
    ) as process:
        yield process, address
