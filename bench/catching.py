"""The service's own mail catcher as a program by itself: `python -m bench.catching FOLDER PORT`."""

import asyncio
import sys
from pathlib import Path

import uvloop

from server.sandbox.mail_catcher import start_catcher


async def catch(folder: Path, port: int) -> None:
    """Keeps e-mails until it is ended."""
    await start_catcher(folder, "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(None)
    uvloop.run(catch(Path(sys.argv[1]), int(sys.argv[2])))
