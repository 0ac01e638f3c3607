"""Telling those who wait, in this process and in others, that something has been committed.

Signals are hints: one that is lost costs a second, the time after which those who wait look anyway.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from server.storage.failures import overloaded

MOST_WAITING = 10_000
_MOST_IN_MESSAGE = 300
_WORK = "work"
# Stands among the IDs of ended operations when who may do what has changed.
ACCESS = "access"


class Post(Protocol):
    """Carries messages (ASCII, below 8,000 bytes) to the other processes, and theirs to us."""

    def send(self, message: str) -> None:
        """Sends without waiting; may lose the message."""
        ...

    async def close(self) -> None:
        """Stops sending and receiving."""
        ...


class Signals:
    """Who waits in this process for operations to end, for work to come or for rights to change."""

    def __init__(self) -> None:
        self._operations: dict[str, set[asyncio.Event]] = {}
        self._workers: set[asyncio.Event] = set()
        self.on_access_change: list[Callable[[], None]] = []
        self._waiting = 0
        self.ended = False
        self.post: Post | None = None

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

    def end_waits(self) -> None:
        """Sets the events of all operations, for good: `ended` tells so."""
        self.ended = True
        for events in self._operations.values():
            for event in events:
                event.set()

    def publish(self, ended: list[str], work: bool) -> None:
        """Tells all processes."""
        self._tell(ended, work)
        if self.post:
            words = [_WORK, *ended] if work else ended
            for start in range(0, len(words), _MOST_IN_MESSAGE):
                self.post.send(" ".join(words[start : start + _MOST_IN_MESSAGE]))

    def receive(self, message: str) -> None:
        """Tells those who wait in this process what came from another."""
        words = message.split()
        self._tell([word for word in words if word != _WORK], _WORK in words)

    def _tell(self, ended: list[str], work: bool) -> None:
        for operation_id in ended:
            for event in self._operations.get(operation_id, ()):
                event.set()
        if ACCESS in ended:
            for changed in self.on_access_change:
                changed()
        if work:
            for event in self._workers:
                event.set()
