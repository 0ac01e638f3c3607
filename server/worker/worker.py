"""All kinds of background work of one process, side by side."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from server.telemetry import metrics
from server.worker.runner import Runner


class Worker:
    """Runs one runner for each kind of work: each has slots of its own, so no kind waits for another."""

    def __init__(self, runners: Sequence[Runner[Any]]) -> None:
        self._runners = runners
        metrics.gauge(
            "billing_work_in_progress",
            "Pieces of background work under way in this process.",
            ["kind"],
            lambda: {(runner.name,): runner.in_work for runner in runners},
        )

    async def run(self) -> None:
        """Works until `stop` is called."""
        await asyncio.gather(*(runner.run() for runner in self._runners))

    async def settle(self) -> None:
        """Returns once nothing is due, nor under way, by the clock as it is now; see `Runner.settle`."""
        # One after the other: an e-mail makes events, which are delivered, whose failures are told.
        for runner in self._runners:
            await runner.settle()

    async def stop(self, within: timedelta) -> None:
        """Stops all of them at once; see `Runner.stop`. Ends `run`, which must have been started."""
        await asyncio.gather(*(runner.stop(within) for runner in self._runners))
