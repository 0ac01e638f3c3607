"""Everything on one machine: what `make run` starts, watches and stops.

Longer than others by the calls that it prints.
"""

import asyncio
import errno
import json
import logging
import os
import shlex
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from files.child_processes import ends_with_parent
from files.locks import LockedError, locked
from files.private import make_private_folder, open_private, replace_private
from files.sockets import socket_folder
from server.config import Settings, SettingsError
from server.database_commands import migrate_database
from server.dev.identity import development_identity
from server.dev.mail_catcher import start_catcher
from server.gateway_runner import keep_gateway, start_gateway, watched_gateway
from server.main import mail_settings, opened_storage, start_bounce_receiver
from server.stop_signal import stop_signal

_log = logging.getLogger(__name__)
_START_S = 30.0
# For a run that has none of its own.
_BOUNCE_DOMAIN = "bounces.example.com"
_RESTART_S = 0.5
# How long the processes of a run that was killed may hold their ports still.
_LEFT_BEHIND_S = 10.0


async def run(settings: Settings) -> None:
    """Starts everything, prints how to call it, and runs until a signal comes.

    Raises SettingsError, also where another run has the same folder.
    """
    mail_settings(settings)
    with ExitStack() as held:
        try:
            make_private_folder(settings.var)
            was_killed = held.enter_context(locked(settings.var / "run.lock"))
        except LockedError as error:
            raise SettingsError(
                f"BILLING_VAR: {settings.var} is in use by another run, {error}: stop that, or set "
                "another folder and other ports"
            ) from None
        except OSError as error:
            raise SettingsError(f"BILLING_VAR: can't use {settings.var}: {error}") from None
        await _run(settings, was_killed)


async def _run(settings: Settings, was_killed: bool) -> None:
    handover = settings.var / "dev.json"
    handover.unlink(missing_ok=True)
    await _wait_for_ports(settings, _LEFT_BEHIND_S if was_killed else 0.0)
    stop = stop_signal()
    async with AsyncExitStack() as parts:
        sockets = settings.var / "run"
        make_private_folder(sockets, with_contents=True)
        addresses = _addresses(settings, parts.enter_context(socket_folder(sockets)))
        _say("applying migrations …")
        migrate_database(settings)
        who, key_file = await development_identity(settings)
        mail = settings.var / "mail"
        if not settings.smtp_url:
            _say("starting the mail catcher …")
            catcher = await start_catcher(mail, "127.0.0.1", settings.smtp_port)
            parts.push_async_callback(catcher.stop)
        if not settings.bounce_domain:
            settings = settings.model_copy(update={"bounce_domain": _BOUNCE_DOMAIN})
        storage = await parts.enter_async_context(opened_storage(settings))
        receiver = await start_bounce_receiver(
            storage, settings, f"127.0.0.1:{settings.bounce_port}"
        )
        parts.push_async_callback(receiver.stop)
        servers = [
            _ServerProcess(settings, number, address) for number, address in enumerate(addresses)
        ]
        _say(f"starting {len(servers)} server process(es) …")
        for server in servers:
            parts.push_async_callback(server.stop)
            await server.start()
        await asyncio.gather(*(server.healthy() for server in servers))
        _say("starting Envoy …")
        gateway, authority = await start_gateway(settings, addresses)
        parts.push_async_callback(gateway.stop, settings.shutdown_s)
        await parts.enter_async_context(watched_gateway(settings, gateway))
        ready = {
            "token": who.token,
            "resellerId": who.reseller_id,
            "rest": f"http://127.0.0.1:{settings.http_port}",
            "rest_tls": f"https://localhost:{settings.https_port}",
            "grpc": f"127.0.0.1:{settings.grpc_port}",
            "ca": str(authority),
            "mail": str(mail),
            "bounces": f"smtp://127.0.0.1:{settings.bounce_port}",
            "serviceAccountKey": str(key_file),
        }
        replace_private(handover, (json.dumps(ready, indent=2) + "\n").encode())
        parts.callback(handover.unlink, missing_ok=True)
        variables = settings.var / "dev.env"
        replace_private(variables, _shell_variables(ready, settings.var).encode())
        parts.callback(variables.unlink, missing_ok=True)
        _print_calls(ready)
        watching = [asyncio.create_task(server.keep_alive()) for server in servers]
        watching.append(asyncio.create_task(keep_gateway(gateway)))
        await stop
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        _say("stopping …")


class _ServerProcess:
    """One `python -m server serve`, started again when it dies."""

    def __init__(self, settings: Settings, number: int, address: str) -> None:
        self._settings = settings
        self._address = address
        # The gateway has the first.
        self._metrics_port = settings.metrics_port + 1 + number
        self._log = settings.var / "logs" / f"server-{number}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        make_private_folder(self._log.parent)
        with open_private(self._log, "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "server", "serve", "--dev", "--listen", self._address),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A receiver that is being developed runs on this machine, too.
                env={
                    "BILLING_WEBHOOK_ALLOW_PRIVATE": "1",
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
            raise SettingsError(f"a server process did not start; see {self._log}")

    async def keep_alive(self) -> None:
        """Starts the process again each time it dies, until cancelled."""
        while True:
            code = await self._exit_code()
            _say(f"a server process ended with code {code}; starting it again (log: {self._log})")
            await asyncio.sleep(_RESTART_S)
            await self.start()

    async def _exit_code(self) -> int:
        return await self._process.wait() if self._process else 0

    async def stop(self) -> None:
        """Lets calls and sends in flight finish."""
        if not self._process or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            # Unlike SIGTERM it does not wait for the gateway, which has stopped before.
            self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self._process.wait(), self._settings.shutdown_s + 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _serving(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise ConnectionError(address)


def _addresses(settings: Settings, sockets: Path) -> list[str]:
    """The first process listens on the fixed port, the others on sockets of their own."""
    others = [f"unix:{sockets}/server-{number}.sock" for number in range(1, settings.workers)]
    return [f"127.0.0.1:{settings.grpc_port}", *others]


async def _wait_for_ports(settings: Settings, within_s: float) -> None:
    """Returns when all ports are free; raises SettingsError where one is not within this time."""
    give_up_at = time.monotonic() + within_s
    while True:
        try:
            _require_free_ports(settings)
        except SettingsError:
            if time.monotonic() >= give_up_at:
                raise
            await asyncio.sleep(_RESTART_S)
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
    for variable, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                why = "is taken" if error.errno == errno.EADDRINUSE else "can't be used"
                raise SettingsError(
                    f"port {port} {why}: stop what listens there, or set {variable} to another port"
                ) from None
    doubles = [port for port in wanted.values() if list(wanted.values()).count(port) > 1]
    if doubles:
        raise SettingsError(f"port {doubles[0]} is set for more than one of {', '.join(wanted)}")


def _shell_variables(ready: dict[str, str], var: Path) -> str:
    """Returns what the first calls in the README need, to be read by a shell in any folder."""
    names = {"TOKEN": "token", "RESELLER": "resellerId", "REST": "rest", "GRPC": "grpc", "CA": "ca"}
    values = {"BILLING_VAR": str(var)} | {name: ready[key] for name, key in names.items()}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def _print_calls(ready: dict[str, str]) -> None:
    body = (
        f'{{"resellerId": "{ready["resellerId"]}", "name": "Horns and Hooves", '
        '"invitationEmail": "customer-\'$RANDOM$RANDOM\'@example.com", '
        '"person": {"name": "Ostap", "phone": "+7 495 123-45-67", "tin": "7707083893"}}'
    )
    python = shlex.quote(sys.executable)
    _say(
        f"""
Ready.
  REST and gRPC   {ready["rest"]}   (TLS: {ready["rest_tls"]}, CA: {ready["ca"]})
  gRPC, direct    {ready["grpc"]}
  Documentation   {ready["rest"]}/docs
  E-mails         {ready["mail"]}   (what comes back: {ready["bounces"]})
  Token           {ready["token"]}
  For SDKs        {ready["serviceAccountKey"]}   (a service account's key file)

Invite a customer:

  curl -s {ready["rest"]}/billing/v1/customers:invite \\
    -H 'Authorization: Bearer {ready["token"]}' \\
    -H 'Content-Type: application/json' \\
    -d '{body}'

See how the operation went (put its "id" in place of OPERATION_ID), then look into the mail folder:

  curl -s {ready["rest"]}/operations/OPERATION_ID -H 'Authorization: Bearer {ready["token"]}'

The same by gRPC:

  {python} - <<'END'
  import uuid
  import grpc
  from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc
  from yandex.cloud.operation import operation_service_pb2, operation_service_pb2_grpc
  channel = grpc.insecure_channel("{ready["grpc"]}")
  token = [("authorization", "Bearer {ready["token"]}")]
  operation = customer_service_pb2_grpc.CustomerServiceStub(channel).Invite(
      customer_service_pb2.InviteCustomerRequest(
          reseller_id="{ready["resellerId"]}", name="Horns and Hooves",
          invitation_email=f"ostap-{{uuid.uuid4()}}@example.com", person={{"name": "Ostap"}}),
      metadata=token)
  print(operation_service_pb2_grpc.OperationServiceStub(channel).Get(
      operation_service_pb2.GetOperationRequest(operation_id=operation.id), metadata=token))
  END

Ctrl-C stops everything.
"""
    )
