"""The life of the sandbox's one process: all of the service but Envoy."""

from server.config import Settings
from server.main import (
    build_server,
    build_sweeper,
    build_worker,
    opened_storage,
    start_bounce_receiver,
)
from server.process import Parts, listen_at, serve_parts
from server.sandbox.identity import make_identity
from server.sandbox.mail_catcher import start_catcher


async def serve(settings: Settings, listen: str) -> None:
    """Serves at `listen` (host:port), takes e-mails and what comes back, until a signal comes.

    The schema must be current. Raises SettingsError.
    """
    async with opened_storage(settings) as storage:
        await make_identity(storage, settings.var)
        if not settings.smtp_url:
            catcher = await start_catcher(settings.var / "mail", "127.0.0.1", settings.smtp_port)
        receiver = await start_bounce_receiver(
            storage, settings, f"127.0.0.1:{settings.bounce_port}"
        )
        served = build_server(storage, settings)
        listen_at(served, listen)
        parts = Parts(served, build_worker(storage, settings), build_sweeper(storage, settings))
        try:
            await serve_parts(storage, settings, listen, parts)
        finally:
            await receiver.stop()
            if not settings.smtp_url:
                await catcher.stop()
