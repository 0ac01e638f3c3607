"""How a process is asked to stop."""

import asyncio
import signal


def stop_signal() -> asyncio.Future[signal.Signals]:
    """Returns what is done once the process is asked to stop, by SIGINT or SIGTERM; which one it is.

    Signals that come from the call on are caught. It is called in the running loop, once.
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[signal.Signals] = loop.create_future()

    def ask(number: signal.Signals) -> None:
        if not asked.done():
            asked.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask, number)
    return asked
