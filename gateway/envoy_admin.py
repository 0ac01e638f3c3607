"""What is asked of a running Envoy over its admin socket."""

import asyncio
import contextlib
import http.client
import socket
from pathlib import Path

from gateway.envoy_metrics import by_conventions
from gateway.route_parts import ANONYMOUS_STREAMS_CLUSTER, CLUSTER, STREAMS_CLUSTER

# Raised where Envoy does not answer, or not as it should.
ADMIN_ERRORS = (OSError, http.client.HTTPException)


class EnvoyAdmin:
    """Envoy's admin interface at a unix socket. All but `is_ready` raise ADMIN_ERRORS."""

    def __init__(self, socket_path: Path) -> None:
        self._path = str(socket_path)

    async def is_ready(self) -> bool:
        """Tells whether Envoy answers on all its ports."""
        try:
            status, _ = await self._call("GET", "/ready")
        except ADMIN_ERRORS:
            return False
        return status == 200

    async def drain(self) -> None:
        """Has answers now end their connections: `connection: close` in HTTP/1, GOAWAY in HTTP/2.

        No new connection is taken: else callers who come at once again keep Envoy busy.
        """
        await self._call("POST", "/healthcheck/fail")
        await self._call("POST", "/drain_listeners")

    async def active_requests(self) -> int:
        """Returns how many requests are being served, streams aside, which would never end."""
        return await self.open_requests() - await self._sum(
            f"^cluster.({STREAMS_CLUSTER}|{ANONYMOUS_STREAMS_CLUSTER}).upstream_rq_active$"
        )

    async def open_connections(self) -> int:
        """Returns how many callers' connections are open."""
        return await self._sum("^http.https?.downstream_cx_active$")

    async def open_requests(self) -> int:
        """Returns how many requests have begun and are not answered, however little of them has come."""
        return await self._sum("^http.https?.downstream_rq_active$")

    async def refusals(self) -> int:
        """Returns how many connections of crowds were refused, since the start."""
        return await self._sum("^crowds.rbac.denied$")

    async def healthy_servers(self) -> tuple[int, int]:
        """Returns how many of the servers can do their work, and how many there are."""
        healthy = await self._sum(f"^cluster.{CLUSTER}.membership_healthy$")
        return healthy, await self._sum(f"^cluster.{CLUSTER}.membership_total$")

    async def metrics(self) -> bytes:
        """Returns what has been counted, in Prometheus's text format, but for what never was."""
        _, body = await self._call("GET", "/stats/prometheus?usedonly")
        return by_conventions(body.decode()).encode()

    async def _sum(self, statistics: str) -> int:
        _, body = await self._call("GET", f"/stats?filter={statistics}")
        return sum(int(line.rpartition(b":")[2]) for line in body.splitlines())

    async def _call(self, verb: str, path: str) -> tuple[int, bytes]:
        """Returns the HTTP status and the body."""

        def ask() -> tuple[int, bytes]:
            connection = _UnixConnection(self._path)
            with contextlib.closing(connection):
                connection.request(verb, path)
                answer = connection.getresponse()
                return answer.status, answer.read()

        return await asyncio.to_thread(ask)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
