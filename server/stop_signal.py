"""How a process is asked to stop."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any


def stop_signal() -> asyncio.Future[signal.Signals]:
    """Returns what is done once the process is asked to stop, by SIGINT, SIGTERM or SIGHUP; which one it is.

    SIGHUP is a terminal that was closed, unless it is ignored, as `nohup` has it. Signals that come
    from the call on are caught. It is called in the running loop, once.
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[signal.Signals] = loop.create_future()

    def ask(number: signal.Signals) -> None:
        if not asked.done():
            asked.set_result(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ask, number)
    return asked


async def until_stopped(
    stop: asyncio.Future[signal.Signals], watching: Sequence[asyncio.Task[None]]
) -> None:
    """Returns once the process is to stop, and ends what watches over its parts until then.

    Raises what one of these failed with: parts that nobody watches over any more must not go on.
    """
    either: list[asyncio.Future[Any]] = [stop, *watching]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for task in watching:
        task.cancel()
    for outcome in await asyncio.gather(*watching, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
