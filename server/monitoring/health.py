"""Health: whether a process lives, whether it can do its work, and if not, why."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from server.monitoring.endpoint import Answer, Pages
from server.storage.interface import DatabaseProbe

_log = logging.getLogger(__name__)

# A database that is away for so long makes a process unready; one success makes it ready again.
AWAY_AFTER_S = 3.0
_PROBE_EVERY_S = 0.5
_FRESH_S = 0.2

# Returns what is wrong, "" for nothing.
Check = Callable[[], Awaitable[str]]


def pages(alive: Mapping[str, Check], ready: Mapping[str, Check]) -> Pages:
    """Returns /livez and /readyz; each tells what every check found."""
    return {
        "/livez": _Page(("alive", "not alive"), alive),
        "/readyz": _Page(("ready", "not ready"), {**alive, **ready}),
    }


class _Page:
    """Asks its checks five times a second at most, however many ask it."""

    def __init__(self, words: tuple[str, str], checks: Mapping[str, Check]) -> None:
        self._words = words
        self._checks = checks
        self._asking = asyncio.Lock()
        self._answer: Answer | None = None
        self._fresh_until_s = 0.0

    async def __call__(self) -> Answer:
        async with self._asking:
            if self._answer is None or time.monotonic() >= self._fresh_until_s:
                self._answer = await _page(self._words, self._checks)
                self._fresh_until_s = time.monotonic() + _FRESH_S
            return self._answer


async def _page(words: tuple[str, str], checks: Mapping[str, Check]) -> Answer:
    found = {name: await check() for name, check in checks.items()}
    wrong = any(found.values())
    body = {
        "status": words[wrong],
        "checks": {name: problem or "ok" for name, problem in found.items()},
    }
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return Answer(status, "application/json", (json.dumps(body) + "\n").encode())


class DatabaseHealth:
    """Watches whether the database can be used, and tells when that changes."""

    def __init__(
        self,
        database: DatabaseProbe,
        tell: Callable[[bool], Awaitable[None]] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is called with whether it can, each time that changes; `now_s` counts seconds."""
        self._database = database
        self._tell = tell
        self._now_s = now_s
        # What the latest probe found, and since when none has gone well.
        self._problem = ""
        self._since_s: float | None = None
        self._away = False

    async def run(self) -> None:
        """Looks twice a second, until cancelled."""
        while True:
            began_s = self._now_s()
            probe = asyncio.ensure_future(self._database.probe())
            try:
                problem = await self._outcome(probe, began_s)
            finally:
                probe.cancel()
            if problem:
                await self._failed(problem, began_s)
            else:
                await self._succeeded()
            await asyncio.sleep(_PROBE_EVERY_S)

    async def _outcome(self, probe: asyncio.Future[str], began_s: float) -> str:
        """Returns what a probe finds; notices meanwhile that it takes too long."""
        since_s = began_s if self._since_s is None else self._since_s
        while not probe.done() and not self._away:
            left_s = max(0.0, since_s + AWAY_AFTER_S - self._now_s())
            await asyncio.wait({probe}, timeout=left_s)
            if not probe.done():
                # What the probe before found says more than that this one, begun since, is slow.
                await self._failed(self._problem or "the database does not answer", began_s)
        return await probe

    async def check(self) -> str:
        """Tells since when the database is away, and why."""
        if not self._away or self._since_s is None:
            return ""
        return f"{self._problem}, for {self._now_s() - self._since_s:.0f} s"

    async def _failed(self, problem: str, began_s: float) -> None:
        self._problem = problem
        if self._since_s is None:
            self._since_s = began_s
        if not self._away and self._now_s() - self._since_s >= AWAY_AFTER_S:
            self._away = True
            _log.error("not ready: %s", problem)
            if self._tell:
                await self._tell(False)

    async def _succeeded(self) -> None:
        if self._away and self._since_s is not None:
            self._away = False
            _log.warning("ready again, after %.0f s", self._now_s() - self._since_s)
            if self._tell:
                await self._tell(True)
        self._problem, self._since_s = "", None
