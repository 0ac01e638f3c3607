"""What health says is wrong while a probe is still under way."""

import asyncio

from server.monitoring.health import DatabaseHealth


class Probe:
    """Finds a database read-only once, and never answers again."""

    def __init__(self) -> None:
        self._found = ["the database is read-only"]

    async def probe(self) -> str:
        if not self._found:
            await asyncio.Event().wait()
        return self._found.pop()

    async def close(self) -> None:
        """Holds nothing."""


async def test_a_slow_probe_keeps_the_reason_of_the_one_before() -> None:
    told = asyncio.Event()

    async def tell(_can: bool) -> None:
        told.set()

    # The first probe begins, is waited for and ends; by the second one too much time has gone by.
    times_s = [0.0, 0.0, 0.5, 10.0]
    health = DatabaseHealth(
        Probe(), tell, lambda: times_s.pop(0) if len(times_s) > 1 else times_s[0]
    )
    running = asyncio.create_task(health.run())
    await told.wait()
    assert await health.check() == "the database is read-only, for 10 s"
    running.cancel()
