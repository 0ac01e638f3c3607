"""Group commit: calls that arrive together share a transaction.

A commit must reach the disk, which takes as long as hundreds of rows. So while one transaction
commits, the next calls gather, and then run as one (`transactions`).
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from server.storage.interface.deadlines import time_to_answer_s
from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import overloaded, unavailable
from server.storage.sql.reseller_cache import ResellerCache
from server.storage.sql.transactions import (
    BatchConnection,
    BatchHandler,
    Commits,
    Notice,
    Phase,
    Request,
    run_batch,
)
from server.telemetry import metrics
from server.telemetry.origins import TRACEPARENT
from server.telemetry.traces import TRACES

A = TypeVar("A")
R = TypeVar("R")

MOST_IN_BATCH = 128
MOST_QUEUED = 4096
# A thread that has just served several callers gives the next ones time to gather, since what is
# done once for a transaction costs more than several rows. Those who write wait the longer the more
# they were, as they will be that many again; who calls alone never waits.
_LINGER_S, _LINGER_MOST_S = 0.001, 0.006
_LINGER_EACH_S = 0.00015
# Whoever has no answer by then is refused, even where the database says nothing at all: soon enough
# for a gateway that tries three times within a caller's fifteen seconds. Sooner if a deadline is.
_ANSWER_WITHIN_S = 3.5
_LOOK_EVERY_S = 0.25

_log = logging.getLogger(__name__)


class Batcher:
    """Runs requests in batches, on threads that hold a connection each.

    `on_commit` is called in the event loop, with what a transaction has to tell. Must be made in the
    event loop that it serves.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        writes: bool,
        threads: int = 1,
        on_commit: Callable[[Notice], None] | None = None,
        resellers: ResellerCache | None = None,
    ) -> None:
        resellers = resellers or ResellerCache({}, {})
        self._writes = writes
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._counted = metrics.batches_of(name.removeprefix("storage-"))
        self._closed = False
        # All requests of late, the oldest first, and until when each is to be answered.
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._looking = False
        self._commits = Commits()
        self._connections = [
            BatchConnection(database, resellers, writes=writes, commits=self._commits)
            for _ in range(threads)
        ]
        self._threads = [
            threading.Thread(
                target=self._work, args=[connection], name=f"{name}-{number}", daemon=True
            )
            for number, connection in enumerate(self._connections)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """How many requests wait for their turn."""
        return self._requests.qsize()

    def submit(self, handler: BatchHandler[A, R], argument: A) -> asyncio.Future[R]:
        """Asks for `argument` to be done together with others of its kind.

        A request whose future is cancelled before its turn does nothing, nor does one that is refused
        as too late. Raises OVERLOADED, STORAGE_UNAVAILABLE where it is not done, and OUTCOME_UNKNOWN.
        """
        if self._closed:
            raise unavailable()
        if self._requests.qsize() >= MOST_QUEUED:
            raise overloaded()
        future: asyncio.Future[R] = self._loop.create_future()
        if TRACES.on:
            _trace(future, handler.__name__)
        now_s = self._loop.time()
        within_s = time_to_answer_s(now_s)
        if within_s < _ANSWER_WITHIN_S + _LOOK_EVERY_S:
            self._refuse_at(now_s + within_s, future)
        self._asked.append((now_s + _ANSWER_WITHIN_S, future))
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_EVERY_S, self._look)
        self._requests.put(Request(handler, argument, future))
        return future

    def _refuse_at(self, at_s: float, future: asyncio.Future[Any]) -> None:
        """Refuses one that has no answer by then."""
        refusal = self._loop.call_at(at_s, self._refuse, future)
        future.add_done_callback(lambda _: refusal.cancel())

    def _refuse(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            self._commits.refuse(future)

    def _look(self) -> None:
        """Refuses those who have waited too long, and ends waits for a database that says nothing.

        Looks again as long as anybody waits.
        """
        now = self._loop.time()
        asked = self._asked
        while asked and (asked[0][1].done() or asked[0][0] <= now):
            _, future = asked.popleft()
            self._refuse(future)
        at_work = [connection.watch(now) for connection in self._connections]
        self._looking = bool(asked) or any(at_work)
        if self._looking:
            self._loop.call_later(_LOOK_EVERY_S, self._look)

    async def close(self) -> None:
        """Returns when all that was submitted is done; refuses what comes later."""
        self._closed = True
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self, connection: BatchConnection) -> None:
        served = 0
        while True:
            if served > 1:
                time.sleep(self._linger_s(served))
            first = self._requests.get()
            if first is None:
                break
            if first.future.done():
                continue
            batch = [first]
            began = time.perf_counter()
            self._join(batch)
            outcomes, notices = run_batch(connection, batch, self._join)
            if connection.phase is Phase.BEGINNING and batch:
                # Whoever has queued meanwhile fails with the same error.
                self._join(batch, MOST_QUEUED)
                outcomes += [outcomes[-1]] * (len(batch) - len(outcomes))
            served = len(batch)
            self._counted.ended(served, time.perf_counter() - began)
            self._loop.call_soon_threadsafe(self._resolve, batch, outcomes, notices)
            connection.settle()
        connection.end()

    def _linger_s(self, served: int) -> float:
        if not self._writes:
            return _LINGER_S
        return min(max(_LINGER_S, served * _LINGER_EACH_S), _LINGER_MOST_S)

    def _join(self, batch: list[Request], most: int = MOST_IN_BATCH) -> None:
        """Adds what is queued to a batch, up to so many in all."""
        try:
            while len(batch) < most:
                request = self._requests.get(block=False)
                if request is None:
                    self._requests.put(None)  # the end, once what came before it is done
                    return
                if not request.future.done():
                    batch.append(request)
        except Empty:
            pass

    def _resolve(
        self, batch: list[Request], outcomes: Sequence[Any], notices: Sequence[Notice]
    ) -> None:
        for request, outcome in zip(batch, outcomes, strict=True):
            if request.future.done():  # its caller has gone
                continue
            if isinstance(outcome, Exception):
                request.future.set_exception(outcome)
            else:
                request.future.set_result(outcome)
        if self._writes:
            self._commits.answered(batch)
        if self._on_commit:
            for notice in notices:
                if any(notice):
                    self._on_commit(notice)


def _trace(future: asyncio.Future[Any], name: str) -> None:
    """Has a trace tell how long a request waits and is in work, if the task is in one."""
    above = TRACEPARENT.get()
    if above:
        span = TRACES.begin(f"transaction {name}", above)
        TRACEPARENT.set(above)
        future.add_done_callback(lambda _: TRACES.end(span))
