"""Envoy in front of a run's servers. Takes long to read, so that those are started before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from gateway.envoy import Gateway
from server.config import Settings, SettingsError
from server.gateway_runner import keep_gateway, start_gateway, watched_gateway

_START_S = 30.0
_LOOK_S = 0.02


class StartedGateway:
    """Envoy, which may be starting still."""

    def __init__(self, settings: Settings, starting: "asyncio.Task[tuple[Gateway, Path]]") -> None:
        self._settings = settings
        self._starting = starting

    async def reaches_servers(self) -> Path:
        """Returns what clients verify its certificate by, once it has found the servers healthy.

        Raises SettingsError if it never does.
        """
        gateway, authority = await self._starting
        try:
            async with asyncio.timeout(_START_S):
                # Envoy tells it only when asked.
                while await gateway.servers_problem():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise SettingsError("Envoy does not reach the servers; see the logs") from None
        return authority

    def watched(self) -> AbstractAsyncContextManager[None]:
        """Tells those who watch over it of it. It must have started."""
        gateway, _ = self._starting.result()
        return watched_gateway(self._settings, gateway)

    async def drain(self) -> None:
        """Lets calls in flight finish, streams aside, and takes no others. It must have started."""
        gateway, _ = self._starting.result()
        await gateway.drain(self._settings.shutdown_s)

    async def keep_alive(self) -> None:
        """Starts it again each time it dies, until cancelled. It must have started."""
        gateway, _ = self._starting.result()
        await keep_gateway(gateway)


@asynccontextmanager
async def gateway_for(
    settings: Settings, addresses: list[str], protos: Path
) -> AsyncIterator[StartedGateway]:
    """Begins to start Envoy in front of servers at these addresses, and stops it after the block.

    `protos` are the compiled protos that it is to know.
    """
    starting = asyncio.create_task(start_gateway(settings, addresses, protos))
    try:
        yield StartedGateway(settings, starting)
    finally:
        starting.cancel()  # unless it is done
        with suppress(asyncio.CancelledError, SettingsError):
            gateway, _ = await starting
            await gateway.stop(settings.shutdown_s)
