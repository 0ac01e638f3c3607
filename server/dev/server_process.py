"""One server process: started, watched, started again when it dies, and stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from files.child_processes import ends_with_parent
from files.private import make_private_folder, open_private
from server import console
from server.config import Settings, SettingsError

# It may bring a database of an earlier release up to date before.
_START_S = 600.0
_RESTART_S = 0.5
_RETRY_S = 5.0
# By default gRPC would try again after a second, then ever less often.
_RECONNECT_OFTEN = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 50),
)


class ServerProcess:
    """One server, started again when it dies. `command` is what Python is to run for it."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        address: str,
        command: Sequence[str],
        defaults: Mapping[str, str],
    ) -> None:
        """`defaults` are settings of its own, where none are given."""
        self._defaults = defaults
        self._settings = settings
        self._address = address
        self._command = command
        self._has_served = False
        self._log_from = 0
        # The gateway has the first.
        self._metrics_port = settings.metrics_port + 1 + number
        self._log = settings.var / "logs" / f"server-{number}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        make_private_folder(self._log.parent)
        with open_private(self._log, "ab") as log:
            self._log_from = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a package of the same name in this folder is not ours
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **self._defaults,
                    **os.environ,
                    "BILLING_BOUNCE_DOMAIN": self._settings.bounce_domain,
                    "BILLING_METRICS_PORT": str(self._metrics_port),
                },
                start_new_session=True,
                # By the signal that does not wait for the gateway, which ends too.
                preexec_fn=ends_with_parent(signal.SIGINT),
            )

    async def healthy(self) -> None:
        """Returns once the process answers health checks; raises SettingsError if it never does."""
        ended = asyncio.create_task(self._exit_code())
        ready = asyncio.create_task(_serving(self._address))
        await asyncio.wait({ended, ready}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        serving = ready.done() and not ready.cancelled() and ready.exception() is None
        for task in (ended, ready):
            task.cancel()
        if not serving:
            raise SettingsError(self._why())
        self._has_served = True

    def _why(self) -> str:
        """Returns why the process did not start: its last words, if they are one error."""
        with self._log.open("rb") as log:
            log.seek(self._log_from)
            lines = log.read().decode(errors="replace").splitlines()
        errors = filter(None, map(console.said_error, lines))
        return "\n".join(errors) or f"a server process did not start; see {self._log}"

    async def keep_alive(self) -> None:
        """Starts the process again each time it dies, until cancelled."""
        while True:
            code = await self._exit_code()
            console.say_if_read(
                f"a server process ended with code {code}; starting it again (log: {self._log})"
            )
            await asyncio.sleep(_RESTART_S)
            while why := await self._not_started():
                console.say_if_read(f"a server process can't be started again: {why}")
                await asyncio.sleep(_RETRY_S)

    async def _not_started(self) -> str:
        """Starts the process; returns why that can't be now, "" where it has started."""
        try:
            await self.start()
        except OSError as error:  # a disk without room, or a machine without memory
            return f"{error.filename or 'the system'}: {error.strerror}"
        return ""

    async def _exit_code(self) -> int:
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Lets calls and sends in flight finish."""
        if not self._process or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            # SIGTERM ends one that is still loading at once; SIGINT, unlike it, does not have one that
            # serves wait for the gateway, which takes no more calls.
            self._process.send_signal(signal.SIGINT if self._has_served else signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), self._settings.shutdown_s + 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _serving(address: str) -> None:
    # Only here: the process that is waited for has to start first.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with grpc.aio.insecure_channel(address, _RECONNECT_OFTEN) as channel:
        await channel.channel_ready()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ConnectionError(address)
