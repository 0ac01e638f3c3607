"""The ports of a run: free ones, and whether those that are set are."""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from server.config import Settings, SettingsError
from server.settings_sources import is_set, variable

_LOOK_S = 0.5
_PORTS = ("http_port", "https_port", "grpc_port", "smtp_port", "bounce_port", "metrics_port")


@contextmanager
def free_ports(count: int) -> Iterator[Sequence[int]]:
    """Chooses ports of this machine that no other run takes as long as the block runs.

    Each is held by a socket that does not listen: other runs and outgoing connections pass it over,
    while a server that reuses addresses, as all of ours do, can listen there.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ports = [each.getsockname()[1] for each in sockets]
        if sys.platform != "linux":
            held.close()  # elsewhere nobody could listen
        yield ports


@contextmanager
def chosen(*, auto: bool) -> Iterator[None]:
    """With `auto`, sets the ports that the settings leave open to free ones, for all that we start."""
    names = [name for name in _PORTS if auto and not is_set(name)]
    with free_ports(len(names)) as ports:
        os.environ.update(
            {variable(name): str(port) for name, port in zip(names, ports, strict=True)}
        )
        yield


async def wait_for_ports(settings: Settings, within_s: float) -> None:
    """Returns when all ports are free; raises SettingsError where one is not within this time."""
    give_up_at = time.monotonic() + within_s
    while True:
        try:
            _require_free_ports(settings)
        except SettingsError:
            if time.monotonic() >= give_up_at:
                raise
            await asyncio.sleep(_LOOK_S)
        else:
            return


def _require_free_ports(settings: Settings) -> None:
    wanted = {
        "BILLING_HTTP_PORT": settings.http_port,
        "BILLING_HTTPS_PORT": settings.https_port,
        "BILLING_GRPC_PORT": settings.grpc_port,
        "BILLING_BOUNCE_PORT": settings.bounce_port,
    }
    if not settings.smtp_url:
        wanted["BILLING_SMTP_PORT"] = settings.smtp_port
    for name, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                why = "is taken" if error.errno == errno.EADDRINUSE else "can't be used"
                raise SettingsError(
                    f"port {port} {why}: stop what listens there, or set {name} to another port"
                ) from None
    doubles = [port for port in wanted.values() if list(wanted.values()).count(port) > 1]
    if doubles:
        raise SettingsError(f"port {doubles[0]} is set for more than one of {', '.join(wanted)}")
