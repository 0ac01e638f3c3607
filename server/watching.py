"""What every process tells those who watch over it, and where."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server import version
from server.config import Settings, SettingsError
from server.monitoring.endpoint import Endpoint, NoPortError, Pages
from server.monitoring.loop_delay import measure_loop_delay
from server.telemetry import metrics

_log = logging.getLogger(__name__)


@asynccontextmanager
async def watchable(settings: Settings, role: str, pages: Pages) -> AsyncIterator[None]:
    """Serves the pages to those who watch over the process. Raises SettingsError."""
    metrics.build_info(version.current(), role)
    endpoint = Endpoint(pages)
    try:
        port = await endpoint.start(settings.metrics_address, settings.metrics_port)
    except NoPortError as error:
        raise SettingsError(str(error)) from None
    _log.info("%s at %s:%d", ", ".join(pages), settings.metrics_address, port)
    delays = asyncio.create_task(measure_loop_delay())
    try:
        yield
    finally:
        delays.cancel()
        await endpoint.stop()
