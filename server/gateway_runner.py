"""The gateway as the settings want it: on its own machine, or beside the servers in development."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from gateway.certificates import ensure_certificates
from gateway.envoy import Gateway
from gateway.ports import GatewayError
from gateway.settings import STDOUT, GatewaySettings
from server.config import Settings, SettingsError
from server.monitoring.health import pages
from server.monitoring.scrapes import Scrapes
from server.stop_signal import stop_signal, until_stopped
from server.telemetry import metrics
from server.telemetry.failure_log import FailureLog
from server.watching import watchable

_log = logging.getLogger(__name__)
_RESTART_S = 0.5


async def serve_gateway(settings: Settings) -> None:
    """Runs Envoy until a signal comes, then lets calls in flight finish."""
    stop = stop_signal()
    gateway, _ = await start_gateway(settings, settings.upstreams)
    watching = asyncio.create_task(keep_gateway(gateway))
    try:
        async with watched_gateway(settings, gateway):
            _log.info("Envoy serves at %s:%d", settings.address, settings.https_port)
            await until_stopped(stop, [watching])
    finally:
        watching.cancel()
        await gateway.stop(settings.shutdown_s)


async def start_gateway(
    settings: Settings, upstreams: list[str], descriptors: Path = GatewaySettings.descriptors
) -> tuple[Gateway, Path]:
    """Starts Envoy in front of `upstreams`; returns it and what clients verify its certificate by.

    `descriptors` are the compiled protos, seen from the folder of gen/. Without a certificate in the
    settings one for localhost is made. Raises SettingsError.
    """
    certificate, key, authority = _certificate(settings)
    gateway = Gateway(
        GatewaySettings(
            var=settings.var,
            address=settings.address,
            http_port=settings.http_port,
            https_port=settings.https_port,
            upstreams=upstreams,
            certificate=certificate,
            private_key=key,
            max_body_bytes=settings.max_body_bytes,
            max_headers_kib=settings.max_metadata_bytes // 1024,
            timeout_s=settings.request_timeout_s,
            trusted_proxies=settings.proxies,
            cors_origins=settings.origins,
            max_connections=settings.max_connections,
            access_log=_access_log(settings),
            log_as_json=settings.log_format == "json",
            traces_url=settings.traces_url,
            memory_mib=settings.gateway_memory_mib,
            descriptors=descriptors,
        )
    )
    try:
        await gateway.start()
    except GatewayError as error:
        raise SettingsError(str(error)) from None
    return gateway, authority


def watched_gateway(settings: Settings, gateway: Gateway) -> AbstractAsyncContextManager[None]:
    """Tells of a gateway to those who watch over it: its health, its own metrics, and Envoy's."""

    async def render() -> bytes:
        return metrics.render() + await gateway.metrics()

    health = pages({"envoy": gateway.problem}, {"servers": gateway.servers_problem})
    return watchable(settings, "gateway", {**health, "/metrics": Scrapes(render).page})


def _access_log(settings: Settings) -> Path | None:
    if not settings.access_log:
        return None
    if settings.access_log == "stdout":
        return STDOUT
    return Path(settings.access_log).expanduser().absolute()


def _certificate(settings: Settings) -> tuple[Path, Path, Path]:
    """Returns certificate, key, and what clients verify by; raises SettingsError."""
    if settings.tls_certificate and settings.tls_key:
        certificate = Path(settings.tls_certificate).expanduser().absolute()
        return certificate, Path(settings.tls_key).expanduser().absolute(), certificate
    if settings.tls_certificate or settings.tls_key:
        raise SettingsError("BILLING_TLS_CERTIFICATE and BILLING_TLS_KEY go together: set both")
    if not settings.is_local:
        raise SettingsError(
            f"BILLING_ADDRESS: refusing to listen at {settings.address} without a certificate of "
            "its own: set BILLING_TLS_CERTIFICATE and BILLING_TLS_KEY"
        )
    made = ensure_certificates(settings.var / "tls")
    return made.certificate, made.private_key, made.ca


async def keep_gateway(gateway: Gateway) -> None:
    """Starts Envoy again each time it dies, until cancelled."""
    failures = FailureLog(_log)
    while True:
        failures.tell(f"{await gateway.died()}; starting it again")
        await asyncio.sleep(_RESTART_S)
        try:
            await gateway.start()
        except GatewayError as error:
            failures.tell(str(error), level=logging.ERROR)
            await asyncio.sleep(_RESTART_S)
