"""The life of a server process and of a worker process: start, serve, stop gracefully."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from files.listening import why_not
from files.sockets import LONGEST, fits, is_served
from server import version
from server.clock import now
from server.composition.bounces import start_bounce_receiver
from server.composition.grpc_server import Served, Service, build_server
from server.composition.storage import opened_storage
from server.composition.worker import build_sweeper, build_worker
from server.config import Settings, SettingsError
from server.monitoring.health import DatabaseHealth, pages
from server.monitoring.scrapes import BacklogMetrics, Scrapes
from server.stop_signal import stop_signal
from server.storage.interface import Storage
from server.telemetry.traces import TRACES
from server.watching import watchable
from server.worker.handlers.sweeps import Sweeper
from server.worker.worker import Worker

_log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a process that serves is made of; `worker` and `sweeper` where it does such work too."""

    served: Served
    worker: Worker | None
    sweeper: Sweeper | None


async def serve(
    settings: Settings,
    listen: str,
    *,
    with_worker: bool,
    wrap_servicer: Callable[[object], object] = lambda servicer: servicer,
    extra_services: Sequence[Service] = (),
) -> None:
    """Serves at `listen` (host:port or unix:path) until a signal comes, then finishes gracefully.

    `wrap_servicer` and `extra_services` are as `build_server` takes them.
    """
    async with _storage(settings) as (storage, clock):
        served = build_server(
            storage, settings, clock, wrap_servicer=wrap_servicer, extra_services=extra_services
        )
        listen_at(served, listen)
        worker = build_worker(storage, settings, clock) if with_worker else None
        sweeper = build_sweeper(storage, settings, clock) if with_worker else None
        await serve_parts(storage, settings, listen, Parts(served, worker, sweeper))


def listen_at(served: Served, listen: str) -> None:
    """Gives a server the address that it will serve at; raises SettingsError."""
    _require_free(listen)
    try:
        served.server.add_insecure_port(listen)
    except RuntimeError:
        raise SettingsError(f"can't listen at {listen}: {_why_not(listen)}") from None


async def serve_parts(storage: Storage, settings: Settings, listen: str, parts: Parts) -> None:
    """Serves until a signal comes, then finishes gracefully. The server listens there already."""
    _trace(settings)
    served, worker, sweeper = parts
    server, streams = served.server, served.streams
    stop = stop_signal()
    async with _sweeping(sweeper):
        await server.start()
        _tune_garbage_collector()
        working = asyncio.create_task(worker.run()) if worker else None
        watched = _Watched(storage, working, served.tell_available)
        async with watched.by(settings, "server"):
            _log.info("serving at %s", listen)
            asked = await stop
            _log.info("stopping")
            watched.stops()
            await served.healthy.enter_graceful_shutdown()
            if asked == signal.SIGTERM:
                # The gateway sends calls until it has next looked at the health.
                await asyncio.sleep(settings.drain_s)
            # Callers that wait for an operation get it as it is now, and ask again.
            storage.waits.end_waits()
            await streams.stop()
            await server.stop(settings.shutdown_s)
            if worker and working:
                await worker.stop(timedelta(seconds=settings.shutdown_s))
                await working


async def receive_bounces(settings: Settings, listen: str) -> None:
    """Takes e-mails that come back, at host:port, until a signal comes."""
    async with _storage(settings) as (storage, clock):
        stop = stop_signal()
        receiver = await start_bounce_receiver(storage, settings, listen, clock)
        async with _Watched(storage, None).by(settings, "bounces"):
            _log.info("taking what comes back to %s at %s", settings.bounce_domain, listen)
            await stop
        await receiver.stop()


async def work(settings: Settings) -> None:
    """Sends e-mails until a signal comes, then finishes those under way."""
    _trace(settings)
    async with (
        _storage(settings) as (storage, clock),
        _sweeping(build_sweeper(storage, settings, clock)),
    ):
        stop = stop_signal()
        worker = build_worker(storage, settings, clock)
        working = asyncio.create_task(worker.run())
        watched = _Watched(storage, working)
        async with watched.by(settings, "worker"):
            _log.info("sending e-mails")
            await stop
            _log.info("stopping")
            watched.stops()
            await worker.stop(timedelta(seconds=settings.shutdown_s))
            await working


@asynccontextmanager
async def _storage(settings: Settings) -> AsyncIterator[tuple[Storage, Callable[[], datetime]]]:
    """Opens the storage; gives it, and the clock that all processes on it go by."""
    async with opened_storage(settings) as storage:
        clock = storage.clock
        await storage.probe.probe()
        yield storage, lambda: clock.agreed(now())


@asynccontextmanager
async def _sweeping(sweeper: Sweeper | None) -> AsyncIterator[None]:
    """Has invitations expire and old records cleared, where this process does that."""
    sweeping = asyncio.create_task(sweeper.run()) if sweeper else None
    try:
        yield
    finally:
        if sweeper and sweeping:
            sweeper.stop()
            await sweeping


def _trace(settings: Settings) -> None:
    if settings.traces_url:
        TRACES.configure(settings.traces_url, version.current())


class _Watched:
    """What a process with a database tells those who watch over it."""

    def __init__(
        self,
        storage: Storage,
        working: asyncio.Task[None] | None,
        tell_available: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        self._storage = storage
        self._working = working
        self._database = DatabaseHealth(storage.probe, tell_available)
        self._stopping = False

    @asynccontextmanager
    async def by(self, settings: Settings, role: str) -> AsyncIterator[None]:
        """Serves metrics and health until the block ends."""
        alive = {"work": self._check_work}
        ready = {"database": self._database.check, "process": self._check_stopping}
        scrapes = Scrapes(BacklogMetrics(self._storage.backlog, now).render)
        looking = asyncio.create_task(self._database.run())
        try:
            async with watchable(settings, role, {**pages(alive, ready), "/metrics": scrapes.page}):
                yield
        finally:
            looking.cancel()

    def stops(self) -> None:
        """Says that the process takes no more calls."""
        self._stopping = True

    async def _check_work(self) -> str:
        ended = self._working is not None and self._working.done() and not self._stopping
        return "the background work has ended; the log says why" if ended else ""

    async def _check_stopping(self) -> str:
        return "the process is stopping" if self._stopping else ""


def _require_free(listen: str) -> None:
    """Raises SettingsError for what is no address, and for a socket's path that gRPC would take from
    another, or can't have."""
    host, _, port = listen.rpartition(":")
    is_place = host and port.isdecimal() and int(port) < 1 << 16
    if not (is_place or listen.startswith("unix:")):
        raise SettingsError(f"can't listen at {listen}: give host:port, or unix: and a path")
    path = Path(listen.removeprefix("unix:"))
    if listen.startswith("unix:") and not fits(path):
        raise SettingsError(
            f"can't listen at {listen}: a socket's path has {LONGEST} bytes at most"
        )
    if listen.startswith("unix:") and is_served(path):
        raise SettingsError(
            f"can't listen at {listen}: another process does; stop it or choose another path"
        )


def _why_not(listen: str) -> str:
    if listen.startswith("unix:"):
        return "this user needs to write to the socket's folder, which must be there"
    host, _, port = listen.rpartition(":")
    return why_not(host, int(port)) or "another program did a moment ago; try again"


def _tune_garbage_collector() -> None:
    """Has the garbage collector look seldom, and never at what lives as long as the process.

    A call makes a few hundred objects, of which grpcio leaves six in a cycle; by default collections
    would cost a tenth of a call's time. Seldomer still, each would hold the calls up for longer than
    the 2 ms that it takes now, and find its objects no longer in the processor's cache.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)
