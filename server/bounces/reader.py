"""Has reports read in a process of their own: what a stranger writes can take Python's parsers minutes,
in which no thread of the same process would do anything else."""

import asyncio
import contextlib
import json
import logging
import sys

from server.domain.bounces import BounceReport
from server.telemetry.failure_log import FailureLog

_log = logging.getLogger(__name__)

# -P: a package of the same name in the current folder is not ours.
_COMMAND = (sys.executable, "-P", "-m", "server.bounces.reader_process")


class ReaderLostError(Exception):
    """The process that reads ended by itself."""


class ReportReader:
    """Reads one report after the other; its process starts with the first."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._failures = FailureLog(_log)

    async def read(self, content: bytes, reverse_path: str) -> BounceReport | None:
        """Returns what `read_report` does; None also where that takes too long or fails.

        Raises ReaderLostError; the next one is read by a new process.
        """
        request = json.dumps([content.decode("latin-1"), reverse_path]).encode() + b"\n"
        async with self._turn:
            process = self._process
            if process is None or process.returncode is not None:
                process = self._process = await asyncio.create_subprocess_exec(
                    *_COMMAND,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    # What Python prints of a fault may quote the report.
                    stderr=asyncio.subprocess.DEVNULL,
                )
            answer = await self._ask(process, request)
        found = json.loads(answer)
        if isinstance(found, str):
            self._failures.tell(f"reading a report failed: {found}", level=logging.ERROR)
            return None
        return BounceReport(*found) if found else None

    async def _ask(self, process: asyncio.subprocess.Process, request: bytes) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("started without pipes")
        answer = b""
        try:
            with contextlib.suppress(OSError):
                process.stdin.write(request)
                await process.stdin.drain()
                answer = await process.stdout.readline()
        finally:
            # Who goes away meanwhile leaves an answer that the next one would take for its own.
            if not answer:
                await self._end(process)
        if not answer:
            self._failures.tell("what reads reports has ended by itself")
            raise ReaderLostError
        return answer

    async def stop(self) -> None:
        """Ends the process."""
        if self._process:
            await self._end(self._process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
