"""Starts Envoy as a child process, tells when it is ready or dead, and stops it without losing a call.

Longer than others by what it keeps up to date while Envoy runs: certificate, shares, crowds.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

from files.child_processes import ends_with_parent
from files.locks import LockedError, locked
from files.private import close_to_others, make_private_folder, open_private, replace_private
from files.sockets import socket_folder
from gateway.certificates import write_secret_config
from gateway.config import bootstrap
from gateway.crowds import Crowds, refusal
from gateway.docs import packed, static_files
from gateway.envoy_admin import ADMIN_ERRORS, EnvoyAdmin
from gateway.envoy_log import log_options, message, open_log
from gateway.http_rules import DescriptorSet
from gateway.ports import GatewayError, check_ports
from gateway.settings import STDOUT, GatewaySettings

_ROOT = Path(__file__).resolve().parent.parent
_START_S = 30.0
_LOOK_S = 0.05
_RENEWAL_S = 1.0
_PRESSURE_S = 0.2

# Inode, size and time of change in ns of each file; None where it is missing.
_FileStates = list[tuple[int, int, int] | None]

logger = logging.getLogger(__name__)


class Gateway:
    """One Envoy."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._log = settings.var / "logs" / "envoy.log"
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._keeping: list[asyncio.Task[None]] = []
        self._shown: _FileStates = []
        # The lock on the folder, and the path to Envoy's admin socket.
        self._held = contextlib.ExitStack()
        self._admin_socket: Path | None = None

    async def start(self) -> None:
        """Returns when Envoy answers on all its ports; raises GatewayError where it can't."""
        settings = self._settings
        self._stopping = False
        check_ports(settings)
        try:
            command = self._command(self._write_config(self._hold()))
            try:
                self._write_certificate()
            except OSError as error:
                raise GatewayError(
                    f"{settings.certificate} and {settings.private_key} can't be used: {error}"
                ) from None
            await self._start(command)
        except BaseException as error:
            await self._kill()
            self._release()
            if isinstance(error, OSError):  # a disk without room, perhaps
                place = error.filename or settings.var
                raise GatewayError(f"{place} can't be used: {error.strerror}") from None
            raise
        if not self._keeping:
            self._keeping = [
                asyncio.create_task(self._keep_certificate()),
                asyncio.create_task(self._keep_pressure()),
            ]

    async def _start(self, command: list[str]) -> None:
        with open_private(self._log, "ab") as log:
            start = log.tell()
            try:
                process = self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=None if self._settings.access_log == STDOUT else log,
                    stderr=log,
                    # A Ctrl-C in the terminal is for the starter, which stops Envoy with care.
                    start_new_session=True,
                    preexec_fn=ends_with_parent(signal.SIGTERM),
                )
            except OSError as error:
                raise GatewayError(f"can't start {command[0]}: {error.strerror}") from None
        try:
            async with asyncio.timeout(_START_S):
                while not await self._admin.is_ready():
                    if process.returncode is not None:
                        raise GatewayError(self._reason(start))
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise GatewayError(f"Envoy took more than {_START_S:.0f} s; see {self._log}") from None

    def _hold(self) -> Path:
        """Takes the folder for this process, and returns where Envoy is to take commands."""
        if self._admin_socket is None:
            var, wanted = self._settings.var, self._settings.admin_socket
            try:
                make_private_folder(wanted.parent, with_contents=True)
                close_to_others(var)
                self._held.enter_context(locked(wanted.parent / "lock"))
                folder = self._held.enter_context(socket_folder(wanted.parent))
            except LockedError as error:
                raise GatewayError(
                    f"{var} is in use by another gateway, {error}: stop that, or set BILLING_VAR to "
                    "another folder"
                ) from None
            except OSError as error:
                raise GatewayError(f"can't use the folder {wanted.parent}: {error}") from None
            self._admin_socket = folder / wanted.name
        return self._admin_socket

    @property
    def _admin(self) -> EnvoyAdmin:
        return EnvoyAdmin(self._admin_socket or self._settings.admin_socket)

    def _release(self) -> None:
        self._held.close()
        self._admin_socket = None

    async def stop(self, within_s: float) -> None:
        """Lets calls in flight finish, for at most that long, and ends Envoy."""
        self._stopping = True
        for task in self._keeping:
            task.cancel()
        self._keeping = []
        process = self._process
        if process and process.returncode is None:
            await self._end(process, within_s)
        self._release()

    async def drain(self, within_s: float) -> None:
        """Takes no more connections and lets calls in flight finish, streams aside, for at most that long."""
        with contextlib.suppress(*ADMIN_ERRORS, TimeoutError):
            async with asyncio.timeout(within_s):
                await self._admin.drain()
                # Envoy tells the number only when asked.
                while await self._admin.active_requests():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)

    async def _end(self, process: asyncio.subprocess.Process, within_s: float) -> None:
        await self.drain(within_s)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            await self._kill()

    async def problem(self) -> str:
        """Returns what is wrong with Envoy itself, "" for nothing."""
        return "" if await self._admin.is_ready() else "Envoy does not answer"

    async def servers_problem(self) -> str:
        """Returns why no call can be answered, "" if one can."""
        try:
            healthy, total = await self._admin.healthy_servers()
        except ADMIN_ERRORS:
            return "Envoy does not answer"
        return "" if healthy else f"none of {total} servers is ready"

    async def metrics(self) -> bytes:
        """Returns Envoy's metrics in Prometheus's text format; nothing while it does not answer."""
        try:
            return await self._admin.metrics()
        except ADMIN_ERRORS:
            return b""

    async def died(self) -> str:
        """Returns, in words, how Envoy ended by itself; never while it runs or is being stopped."""
        if self._process is None:
            raise RuntimeError("not started")
        code = await self._process.wait()
        if self._stopping:
            await asyncio.get_running_loop().create_future()
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return f"Envoy ended with {how}; see {self._log}"

    def _write_config(self, admin_socket: Path) -> Path:
        settings = self._settings
        for folder in ("logs", "tls"):
            make_private_folder(settings.var / folder, with_contents=True)
        access_log = settings.access_log or settings.var / "logs" / "access.log"
        if access_log != STDOUT:
            open_log(access_log)
        descriptors = DescriptorSet.read(_ROOT / settings.descriptors)
        transcoded = settings.var / "envoy" / "transcoded.pb"
        replace_private(transcoded, descriptors.for_transcoder())
        # Packed once: for each request it would take a thread 18 ms.
        files = packed(static_files(), settings.var / "envoy")
        tree = bootstrap(
            _ROOT,
            descriptors,
            replace(settings, static_files=[*files, *settings.static_files]),
            access_log=access_log,
            admin_socket=admin_socket,
            pressure=settings.pressure,
            refused=settings.refused,
            transcoded=transcoded,
        )
        self._write_pressure(0.0)
        replace_private(settings.refused, refusal(()))
        # As JSON it is written in a twentieth of the time, and read in half of it and of the memory.
        file = settings.var / "envoy" / "envoy.json"
        replace_private(file, json.dumps(tree, separators=(",", ":")).encode())
        return file

    async def _keep_pressure(self) -> None:
        """Keeps the files up to date that tell Envoy its share of open connections, and which addresses
        have too many of them; it can't act on its own count, and does not know the others.
        """
        settings = self._settings
        ports = (settings.http_port, settings.https_port)
        crowds = Crowds(ports, settings.max_connections, settings.trusted_proxies)
        written, listed = 0.0, crowds.refused
        is_failing = False
        while True:
            await asyncio.sleep(_PRESSURE_S)
            try:
                connections = await self._admin.open_connections()
                requests = await self._admin.open_requests()
                denied = await self._admin.refusals()
            except ADMIN_ERRORS:
                continue
            if crowds.may_be(connections, requests):
                now = asyncio.get_running_loop().time()
                crowds.note_refusals(denied, now)
                await asyncio.to_thread(crowds.look, requests, now)
            share = round(connections / settings.max_connections, 2)
            try:
                if share != written:
                    self._write_pressure(share)
                    written = share
                if crowds.refused != listed:
                    replace_private(settings.refused, refusal(crowds.refused))
                    listed = crowds.refused
                    logger.warning("addresses refused for their connections: %d", len(listed))
            except OSError as error:
                if not is_failing:
                    logger.error("limits of connections stay as they are: %s", error)
                is_failing = True
            else:
                is_failing = False

    def _write_pressure(self, share: float) -> None:
        replace_private(self._settings.pressure, f"{min(share, 1.0)}".encode())

    async def _keep_certificate(self) -> None:
        """Hands a renewed certificate to Envoy, however its files were replaced."""
        while True:
            await asyncio.sleep(_RENEWAL_S)
            if self._certificate_state() == self._shown:
                continue
            try:
                self._write_certificate()
            except OSError as error:
                logger.warning("the old certificate is shown on: %s", error)
            else:
                logger.info("the renewed certificate is shown")

    def _write_certificate(self) -> None:
        settings = self._settings
        # Taken before the files are read: what changes from then on is seen at the next look.
        self._shown = self._certificate_state()
        write_secret_config(
            settings.var / "tls" / "sds.json", settings.certificate, settings.private_key
        )

    def _certificate_state(self) -> _FileStates:
        """Returns what changes with the files, whatever links lead to them."""
        states: _FileStates = []
        for file in (self._settings.certificate, self._settings.private_key):
            try:
                found = file.stat()
            except OSError:
                states.append(None)
            else:
                states.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return states

    def _command(self, config: Path) -> list[str]:
        folder = Path(sys.executable).parent
        program = shutil.which("envoy", path=str(folder)) or shutil.which("envoy")
        if not program:
            raise GatewayError("envoy is missing: run 'make run', which installs it")
        log = log_options(as_json=self._settings.log_as_json)
        return [program, "-c", str(config), "--disable-hot-restart", *log]

    def _reason(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return f"Envoy did not start: {message(lines)} (all of it in {self._log})"

    async def _kill(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
