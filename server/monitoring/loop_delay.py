"""How late the event loop comes to what is due: what makes all calls of a process slow at once."""

import asyncio

from server.telemetry.metrics import LOOP_DELAY

EVERY_S = 0.1


async def measure_loop_delay() -> None:
    """Measures ten times a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        LOOP_DELAY.observe(max(0.0, loop.time() - due))
