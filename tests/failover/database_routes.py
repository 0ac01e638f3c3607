"""What stands between our servers and the machines of the database."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.failover.cluster import Cluster
from tests.failover.parts import program
from tests.failover.pgbouncer import pgbouncer
from tests.service import free_ports

ROUTES = ("", "haproxy", "pgbouncer")
_SESSIONS = 10
# docs/operators/failover.md has these, with reasons.
HAPROXY = """
defaults
    mode tcp
    timeout connect 1s
    retries 2
    option redispatch 1
    timeout client 1h
    timeout server 1h

listen leader
    bind 127.0.0.1:{port}
    option httpchk GET /primary
    http-check expect status 200
    timeout check 1s
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


@contextmanager
def route(cluster: Cluster, through: str, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Gives the database's URL for a service that reaches it so, and settings that go with it."""
    with ExitStack() as open_:
        if not through:
            yield cluster.url, {}
            return
        port = open_.enter_context(_haproxy(cluster, folder))
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        if through == "haproxy":
            yield url, {}
            return
        server = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        user = "postgres" if os.geteuid() == 0 else None
        pooled = open_.enter_context(pgbouncer(server, user, _SESSIONS))
        yield pooled, {"database_pooled": 1, "database_direct_url": url}


@contextmanager
def _haproxy(cluster: Cluster, folder: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    servers = "\n".join(
        f"    server {node.name} {node.host.address}:{node.port} check port {node.rest_port}"
        for node in cluster.nodes
    )
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, servers=servers))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([*program("haproxy"), "-f", str(config)], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()
