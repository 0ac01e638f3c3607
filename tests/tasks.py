"""Tasks that go on meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable


@contextlib.asynccontextmanager
async def meanwhile(tasks: Iterable[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Cancels tasks at the end, and waits for theirs."""
    running = list(tasks)
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
