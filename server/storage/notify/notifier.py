"""Telling those who wait, in this process and in others, that something has been committed.

Signals are hints: one that is lost costs a second, the time after which those who wait look anyway.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from server.storage.sql.driver_errors import overloaded
from server.storage.sql.transactions import Notice

MOST_WAITING = 10_000
# Those who wait look for themselves this often: signals may be lost.
LOOK_EVERY = timedelta(seconds=1)
_MOST_IN_MESSAGE = 300
_WORK = "work"
_ACCESS = "access"
_DELIVERIES = "deliveries"
# In front of the number of a reseller whose log has grown.
_LOG = "log-"


class Transport(Protocol):
    """Carries messages (ASCII, below 8,000 bytes) to the other processes, and theirs to us."""

    def send(self, message: str) -> None:
        """Sends without waiting; may lose the message."""
        ...

    async def close(self) -> None:
        """Stops sending and receiving."""
        ...


class Notifier:
    """Who waits in this process for operations, work, events, or rights to change."""

    def __init__(self) -> None:
        self._operations: dict[str, set[asyncio.Event]] = {}
        self._workers: set[asyncio.Event] = set()
        # Called with the numbers of resellers whose logs have grown.
        self.on_log: list[Callable[[tuple[int, ...]], None]] = []
        self.on_access_change: list[Callable[[], None]] = []
        self.on_deliveries: list[Callable[[], None]] = []
        self._waiting = 0
        self.ended = False
        self.transport: Transport | None = None

    @contextmanager
    def operation(self, operation_id: str) -> Iterator[asyncio.Event]:
        """Gives an event that is set when the operation ends. Raises OVERLOADED."""
        if self._waiting >= MOST_WAITING:
            raise overloaded()
        event = asyncio.Event()
        events = self._operations.setdefault(operation_id, set())
        events.add(event)
        self._waiting += 1
        try:
            yield event
        finally:
            self._waiting -= 1
            events.remove(event)
            if not events:
                del self._operations[operation_id]

    @contextmanager
    def work(self) -> Iterator[asyncio.Event]:
        """Gives an event that is set when there may be new work."""
        event = asyncio.Event()
        self._workers.add(event)
        try:
            yield event
        finally:
            self._workers.remove(event)

    @contextmanager
    def deliveries(self) -> Iterator[asyncio.Event]:
        """Gives an event that is set when webhooks or what is due to them may have changed."""
        event = asyncio.Event()
        self.on_deliveries.append(event.set)
        try:
            yield event
        finally:
            self.on_deliveries.remove(event.set)

    def end_waits(self) -> None:
        """Sets the events of all operations, for good: `ended` tells so."""
        self.ended = True
        for events in self._operations.values():
            for event in events:
                event.set()

    def publish(self, notice: Notice) -> None:
        """Tells all processes."""
        self._tell(notice)
        if self.transport:
            words = [_WORK] if notice.has_work else []
            if notice.changes_access:
                words.append(_ACCESS)
            if notice.has_deliveries:
                words.append(_DELIVERIES)
            words += notice.ended
            words += [f"{_LOG}{reseller}" for reseller in notice.logged]
            for start in range(0, len(words), _MOST_IN_MESSAGE):
                self.transport.send(" ".join(words[start : start + _MOST_IN_MESSAGE]))

    def receive(self, message: str) -> None:
        """Tells those who wait in this process what came from another."""
        words = message.split()
        logged = tuple(int(word[len(_LOG) :]) for word in words if word.startswith(_LOG))
        ended = tuple(
            word
            for word in words
            if word not in (_WORK, _ACCESS, _DELIVERIES) and not word.startswith(_LOG)
        )
        self._tell(Notice(ended, _WORK in words, _ACCESS in words, logged, _DELIVERIES in words))

    def look_again(self, resellers: Iterable[int]) -> None:
        """Has all who wait look for themselves: what others have told may be lost.

        `resellers` are the numbers of all whose logs may have grown.
        """
        self._tell(Notice(tuple(self._operations), True, True, tuple(resellers), True))

    def _tell(self, notice: Notice) -> None:
        for operation_id in notice.ended:
            for event in self._operations.get(operation_id, ()):
                event.set()
        if notice.changes_access:
            for changed in self.on_access_change:
                changed()
        if notice.logged:
            for grown in self.on_log:
                grown(notice.logged)
        if notice.has_deliveries:
            for changed in self.on_deliveries:
                changed()
        if notice.has_work:
            for event in self._workers:
                event.set()


async def wait(event: asyncio.Event, longest_s: float) -> None:
    """Waits for an event, but not longer than that."""
    try:
        async with asyncio.timeout(longest_s):
            await event.wait()
    except TimeoutError:
        return
