"""What every process tells those who watch over it, and where."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server import version
from server.config import Settings, SettingsError
from server.monitoring.endpoint import Endpoint, NoPortError, Pages
from server.monitoring.loop_delay import measure_loop_delay
from server.telemetry import failure_log, metrics
from server.telemetry.call_log import CALL_LOG

_log = logging.getLogger(__name__)
_SUM_UP_EVERY_S = 10.0


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
    tasks = [asyncio.create_task(each) for each in (measure_loop_delay(), _sum_up_failures())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        _sum_up(at_once=True)
        await endpoint.stop()


async def _sum_up_failures() -> None:
    """Has the log tell how many failures came after the first, also once there are no more."""
    while True:
        await asyncio.sleep(_SUM_UP_EVERY_S)
        _sum_up(at_once=False)


def _sum_up(*, at_once: bool) -> None:
    failure_log.sum_up(at_once=at_once)
    CALL_LOG.sum_up(at_once=at_once)
