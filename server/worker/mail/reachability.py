"""Keeps many e-mails from connecting, each for itself, to a mail server that can't be reached."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TypeVar

from server.worker.mail.mailer import MailDelayedError

C = TypeVar("C")

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0
# What callers read.
UNREACHABLE = "the mail server can't be reached"


class Reachability:
    """What is known of whether one server can be reached.

    After a connection that failed the next one is tried 1 s later, then 2, 4, 8 and every 10 s
    later, one at a time; in between, all who want one fail at once with the same error. A success
    ends that.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` counts seconds."""
        self._now_s = now_s
        self._error: MailDelayedError | None = None
        self._since_s = self._until_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._probing = asyncio.Lock()

    async def connected(self, connect: Callable[[], Awaitable[C]]) -> C:
        """Returns what `connect` does. Raises MailDelayedError, its own or the one before."""
        if self._error is None:
            return await self._try(connect)
        async with self._probing:
            if self._error and self._now_s() < self._until_s:
                raise copy(self._error)
            return await self._try(connect)

    def _failed(self, error: MailDelayedError) -> None:
        now_s = self._now_s()
        if self._error is None:
            self._since_s, self._pause_s = now_s, FIRST_PAUSE_S
        elif now_s < self._until_s:
            return  # it was tried before it was known
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._error = error
        self._until_s = now_s + self._pause_s

    async def _try(self, connect: Callable[[], Awaitable[C]]) -> C:
        try:
            connection = await connect()
        except MailDelayedError as error:
            self._failed(error)
            raise
        except asyncio.CancelledError:
            # Whoever asked for it had no more time.
            self._failed(MailDelayedError("connection", detail="time limit", problem=UNREACHABLE))
            raise
        if self._error:
            self._error = None
            _log.info(
                "the mail server is reached again, after %.0f s", self._now_s() - self._since_s
            )
        return connection
