"""An attack in a process of its own: `python -m tests.strangers.attacker NAME COUNT TARGET_FILE`.

Writes a line for each step of progress and "ready" once all is under way; ends with its input.
"""

import asyncio
import resource
import sys
import threading
from pathlib import Path

from tests.strangers.attack import Target
from tests.strangers.attacks import all_attacks


async def _attack(name: str, count: int, target: Target) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=watch, daemon=True).start()
    async with all_attacks()[name].hold(target, count, lambda more: print(more, flush=True)):
        print("ready", flush=True)
        await over.wait()


def main() -> None:
    """Attacks until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    name, count, file = sys.argv[1:]
    asyncio.run(_attack(name, int(count), Target.load(Path(file))))


if __name__ == "__main__":
    main()
