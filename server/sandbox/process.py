"""Runs the sandbox in one process: all of the service but Envoy. Or one of several, without it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from billing.sandbox.v1 import sandbox_service_pb2

from server import process
from server.clock import now
from server.composition.bounces import start_bounce_receiver
from server.composition.grpc_server import Service, build_server
from server.composition.mail import mail_settings
from server.composition.storage import opened_storage
from server.composition.worker import build_sweeper, build_worker
from server.config import Settings, SettingsError
from server.domain.links import link_prefix
from server.process import Parts, listen_at, serve_parts
from server.sandbox.clock import clock_of
from server.sandbox.development import read_identity
from server.sandbox.emails import Emails
from server.sandbox.faults import FaultyServicer
from server.sandbox.identity import make_identity
from server.sandbox.mail_catcher import listen_on_loopback
from server.sandbox.mailbox import Mailbox
from server.sandbox.recipients import Recipients
from server.sandbox.service import NoSandbox, SandboxService
from server.sandbox.winding import Winding
from server.storage.interface import Storage


async def serve(settings: Settings, listen: str) -> None:
    """Serves at `listen` (host:port), takes e-mails and what comes back, until a signal comes.

    The schema must be current. Raises SettingsError.
    """
    if not settings.is_local:
        raise SettingsError(
            "BILLING_ADDRESS: a sandbox is for this machine alone, since all who reach it may make "
            "resellers and wind its clock: take the setting away"
        )
    clock = clock_of(settings.var)
    mail_settings(settings)
    async with AsyncExitStack() as parts:
        storage = await parts.enter_async_context(opened_storage(settings))
        await _require_own_database(storage, settings)
        await make_identity(storage, settings.var)
        emails = Emails(storage.operations, link_prefix(settings.invitation_link))
        recipients = Recipients(clock, storage.waits, settings.http_port, settings.bounce_port)
        parts.push_async_callback(recipients.stop)
        if not settings.smtp_url:
            mailbox = Mailbox(settings.var / "mail", emails, recipients)
            parts.push_async_callback(mailbox.stop)
            await listen_on_loopback(mailbox, "127.0.0.1", settings.smtp_port)
        receiver = await start_bounce_receiver(
            storage, settings, f"127.0.0.1:{settings.bounce_port}", clock
        )
        parts.push_async_callback(receiver.stop)
        sweeper = build_sweeper(storage, settings, clock, credentials_clock=now)
        worker = build_worker(storage, settings, clock, credentials_clock=now)
        winding = Winding(clock, storage, sweeper, worker, recipients)
        service = SandboxService(storage, clock, winding, emails)
        served = build_server(
            storage,
            settings,
            clock,
            credentials_clock=now,
            wrap_servicer=_fault_wrapper(settings),
            extra_services=_sandbox_services(service),
        )
        listen_at(served, listen)
        await serve_parts(storage, settings, listen, Parts(served, worker, sweeper))


async def _require_own_database(storage: Storage, settings: Settings) -> None:
    """Refuses what may be a production's: its invitations would expire, its e-mails go nowhere."""
    if not read_identity(settings.var) and await storage.administration.list_resellers():
        raise SettingsError(
            "BILLING_DATABASE_URL: the database has resellers, and no sandbox in "
            f"{settings.var} has made them; the clock would be wound for all of them. Give the "
            "sandbox a database of its own, or set BILLING_VAR to the folder of the one that did"
        )


async def serve_among_others(settings: Settings, listen: str) -> None:
    """Serves as `serve` of `billing-server` does, with faults, and says that there is no sandbox."""
    await process.serve(
        settings,
        listen,
        with_worker=True,
        wrap_servicer=_fault_wrapper(settings),
        extra_services=_sandbox_services(NoSandbox()),
    )


def _fault_wrapper(settings: Settings) -> Callable[[object], object]:
    return partial(FaultyServicer, calls_per_s=settings.rate_limit)


def _sandbox_services(service: object) -> list[Service]:
    return [(sandbox_service_pb2, "SandboxService", service)]
