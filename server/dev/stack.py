"""Everything on one machine: what `make run` starts, watches and stops.

Longer than others by the calls that it prints.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from files.locks import LockedError, locked
from files.private import make_private_folder, replace_private
from files.sockets import socket_folder
from server import console
from server.config import Settings, SettingsError
from server.dev.ports import wait_for_ports
from server.dev.server_process import ServerProcess
from server.sandbox.development import (
    SANDBOX_PROTOS,
    account_key_file,
    identity_file,
    read_identity,
    run_file,
)
from server.settings_sources import is_set
from server.stop_signal import stop_signal, until_stopped

if TYPE_CHECKING:
    from server.dev.gateway_start import StartedGateway

# For a run that has none of its own.
_BOUNCE_DOMAIN = "bounces.example.com"
# How long the processes of a run that was killed may hold their ports still.
_LEFT_BEHIND_S = 10.0
# What shells call the exit code of a program that Ctrl-C has ended.
_INTERRUPTED = 128 + signal.SIGINT


async def run(settings: Settings, *, until_eof: bool = False) -> None:
    """Starts everything, prints how to call it, and runs until a signal comes.

    With `until_eof` also until standard input ends. Raises SettingsError, also where another run has
    the same folder.
    """
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
        await _run(settings, was_killed, until_eof)


async def _run(settings: Settings, was_killed: bool, until_eof: bool) -> None:
    handover = run_file(settings.var)
    handover.unlink(missing_ok=True)
    await wait_for_ports(settings, _LEFT_BEHIND_S if was_killed else 0.0)
    stop = stop_signal()
    if until_eof:
        _stop_at_eof(stop)
    if not settings.bounce_domain:
        settings = settings.model_copy(update={"bounce_domain": _BOUNCE_DOMAIN})
    async with AsyncExitStack() as parts:
        sockets = settings.var / "run"
        make_private_folder(sockets, with_contents=True)
        addresses = _addresses(settings, parts.enter_context(socket_folder(sockets)))
        servers = [
            ServerProcess(
                settings, number, address, _command(settings, address), _defaults(settings)
            )
            for number, address in enumerate(addresses)
        ]
        no_sandbox = ", which are no sandbox" if settings.workers > 1 else ""
        _say(f"starting Envoy and {len(servers)} server process(es){no_sandbox} …")
        if settings.workers > 1:
            await parts.enter_async_context(_around_many(settings))
        for server in servers:
            parts.push_async_callback(server.stop)
            await server.start()
        # Only here: the servers are reading their code now.
        from server.dev.gateway_start import gateway_for

        gateway = await parts.enter_async_context(gateway_for(settings, addresses, SANDBOX_PROTOS))
        authority = await _unless(stop, _reached(servers, gateway))
        await parts.enter_async_context(gateway.watched())
        ready = _handover(settings, authority)
        replace_private(handover, (json.dumps(ready, indent=2) + "\n").encode())
        parts.callback(handover.unlink, missing_ok=True)
        variables = settings.var / "dev.env"
        replace_private(variables, _shell_variables(ready, settings.var).encode())
        parts.callback(variables.unlink, missing_ok=True)
        _print_calls(ready)
        watching = [asyncio.create_task(server.keep_alive()) for server in servers]
        watching.append(asyncio.create_task(gateway.keep_alive()))
        await until_stopped(stop, watching)
        console.say_if_read("stopping …")
        # The servers before Envoy: only they can tell streams why they end.
        await gateway.drain()
        await asyncio.gather(*(server.stop() for server in servers))


async def _reached(servers: Sequence[ServerProcess], gateway: "StartedGateway") -> Path:
    """Returns what clients verify the gateway's certificate by, once calls reach the servers."""
    await asyncio.gather(*(server.healthy() for server in servers))
    return await gateway.reaches_servers()


async def _unless(stop: "asyncio.Future[signal.Signals]", work: Coroutine[Any, Any, Path]) -> Path:
    """Returns what the work does; ends the program with code 130 where it is to stop before."""
    working = asyncio.create_task(work)
    either: list[asyncio.Future[Any]] = [stop, working]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        _say("stopping before it was ready …")
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        raise click.exceptions.Exit(_INTERRUPTED)
    return working.result()


@asynccontextmanager
async def _around_many(settings: Settings) -> AsyncIterator[None]:
    """Runs here what is there once: who may call, the mail catcher, what takes e-mails that come back.

    With one server process, the sandbox, that has it all.
    """
    # Only here: the sandbox's parent has to start soon, and the sandbox migrates by itself.
    from server.composition.bounces import start_bounce_receiver
    from server.composition.storage import opened_storage
    from server.database_commands import migrate_database
    from server.sandbox.identity import make_identity
    from server.sandbox.mail_catcher import start_catcher

    await asyncio.to_thread(migrate_database, settings)
    async with AsyncExitStack() as parts:
        storage = await parts.enter_async_context(opened_storage(settings))
        await make_identity(storage, settings.var)
        if not settings.smtp_url:
            catcher = await start_catcher(settings.var / "mail", "127.0.0.1", settings.smtp_port)
            parts.push_async_callback(catcher.stop)
        receiver = await start_bounce_receiver(
            storage, settings, f"127.0.0.1:{settings.bounce_port}"
        )
        parts.push_async_callback(receiver.stop)
        yield


def _stop_at_eof(stop: "asyncio.Future[signal.Signals]") -> None:
    """Has everything stopped once standard input ends, as it does with whoever holds its other end."""
    loop = asyncio.get_running_loop()

    def stop_now() -> None:
        if not stop.done():
            stop.set_result(signal.SIGINT)

    def read() -> None:
        with suppress(OSError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(stop_now)

    threading.Thread(target=read, daemon=True).start()


def _command(settings: Settings, address: str) -> list[str]:
    """Returns what Python is to run as a server process: the sandbox, or one of many."""
    command = ["-m", "server.sandbox", "--listen", address]
    return command if settings.workers == 1 else [*command, "--among-others"]


def _defaults(settings: Settings) -> dict[str, str]:
    """Returns settings that stand in for the usual ones in development."""
    # A receiver that is being developed runs on this machine, too.
    defaults = {"BILLING_WEBHOOK_ALLOW_PRIVATE": "1"}
    if settings.workers == 1 and not is_set("mail_per_address_h"):
        # Any number of tests invite one test recipient.
        defaults["BILLING_MAIL_PER_ADDRESS_H"] = "0"
    return defaults


def _handover(settings: Settings, authority: Path) -> dict[str, str]:
    """Returns what programs are told that want to call."""
    # Only here: the servers have started.
    from server.worker.mail.smtp_server import SmtpServer

    who = read_identity(settings.var)
    if not who:
        raise SettingsError(f"there is no {identity_file(settings.var)}, which was just made")
    smtp = SmtpServer.from_url(settings.smtp)
    return {
        "token": who.token,
        "resellerId": who.reseller_id,
        "rest": f"http://127.0.0.1:{settings.http_port}",
        "rest_tls": f"https://localhost:{settings.https_port}",
        "grpc": f"127.0.0.1:{settings.grpc_port}",
        "ca": str(authority),
        "mail": str(settings.var / "mail"),
        "smtp": f"smtp://{smtp.host}:{smtp.port}",
        "bounces": f"smtp://127.0.0.1:{settings.bounce_port}",
        "serviceAccountKey": str(account_key_file(settings.var)),
    }


def _addresses(settings: Settings, sockets: Path) -> list[str]:
    """The first process listens on the fixed port, the others on sockets of their own."""
    others = [f"unix:{sockets}/server-{number}.sock" for number in range(1, settings.workers)]
    return [f"127.0.0.1:{settings.grpc_port}", *others]


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
    # Those of the wheel are in no place where Python looks: they would hide the official SDK's.
    stubs = Path(__file__).resolve().parents[2] / "gen"
    python = f"PYTHONPATH={shlex.quote(str(stubs))} {shlex.quote(sys.executable)}"
    _say(
        f"""
Ready.
  REST and gRPC   {ready["rest"]}   (TLS: {ready["rest_tls"]}, CA: {ready["ca"]})
  gRPC, direct    {ready["grpc"]}
  Documentation   {ready["rest"]}/docs#token={ready["token"]}&reseller={ready["resellerId"]}
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
