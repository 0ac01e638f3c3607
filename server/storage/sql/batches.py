"""Group commit: calls that arrive together share a transaction.

A commit must reach the disk, which takes as long as hundreds of rows. So while one transaction
commits, the next calls gather, and then run as one.

Longer than others: one algorithm, whose steps share their state.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from functools import wraps
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import PoolProxiedConnection

from server.domain.errors import BillingError
from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import (
    ErrorClass,
    classify,
    overloaded,
    to_billing_error,
    unavailable,
)
from server.storage.sql.log_marks import LogMarks
from server.storage.sql.reseller_numbers import KnownResellers, ResellerNumbers
from server.storage.sql.statements import Transaction

A = TypeVar("A")
R = TypeVar("R")

# What one request of a batch may have done to the others.
_ONE_BY_ONE = (ErrorClass.CONFLICT, ErrorClass.UNFIT, ErrorClass.UNEXPECTED)

# Does one kind of request for many callers at once. Returns an outcome for each, in their order;
# a refusal of one is an exception among the results. What it raises undoes the whole transaction.
BatchHandler = Callable[[Transaction, Sequence[A]], Sequence[R | Exception]]

MOST_IN_BATCH = 128
MOST_QUEUED = 4096
# A thread that has just served several callers gives the next ones time to gather, since what is
# done once for a transaction costs more than several rows. Those who write wait the longer the more
# they were, as they will be that many again; who calls alone never waits.
_LINGER_S, _LINGER_MOST_S = 0.001, 0.006
_LINGER_EACH_S = 0.00015
# Whoever has no answer by then is refused, even where the database says nothing at all: soon enough
# for a gateway that tries three times within a caller's fifteen seconds.
_ANSWER_WITHIN_S = 3.5
_LOOK_EVERY_S = 0.25

_log = logging.getLogger(__name__)


class _Request(NamedTuple):
    handler: BatchHandler[Any, Any]
    argument: Any
    future: asyncio.Future[Any]


class News(NamedTuple):
    """What a committed transaction tells those who wait, in all processes.

    ended: IDs of operations that have ended.
    has_work: there may be new work.
    changes_access: who may do what has changed.
    logged: the numbers of resellers whose logs have grown.
    has_deliveries: there may be something to send to webhooks, or a webhook to send to.
    """

    ended: tuple[str, ...] = ()
    has_work: bool = False
    changes_access: bool = False
    logged: tuple[int, ...] = ()
    has_deliveries: bool = False


# Adds to a batch those that have come meanwhile.
Join = Callable[[list[_Request]], None]


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
        on_commit: Callable[[News], None] | None = None,
        resellers: KnownResellers | None = None,
    ) -> None:
        self._database = database
        self._resellers = resellers or KnownResellers({}, {})
        self._writes = writes
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._closed = False
        # All requests of late, the oldest first, and until when each is to be answered.
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._looking = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, handler: BatchHandler[A, R], argument: A) -> asyncio.Future[R]:
        """Asks for `argument` to be done together with others of its kind.

        A request whose future is cancelled, or refused as too late, before its turn does nothing.
        Raises OVERLOADED, STORAGE_UNAVAILABLE.
        """
        if self._closed:
            raise unavailable()
        if self._requests.qsize() >= MOST_QUEUED:
            raise overloaded()
        future: asyncio.Future[R] = self._loop.create_future()
        self._asked.append((self._loop.time() + _ANSWER_WITHIN_S, future))
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_EVERY_S, self._refuse_overdue)
        self._requests.put(_Request(handler, argument, future))
        return future

    def _refuse_overdue(self) -> None:
        """Refuses those who have waited too long, and looks again as long as anybody waits."""
        now = self._loop.time()
        asked = self._asked
        while asked and (asked[0][1].done() or asked[0][0] <= now):
            _, future = asked.popleft()
            if not future.done():
                future.set_exception(unavailable())
        self._looking = bool(asked)
        if asked:
            self._loop.call_later(_LOOK_EVERY_S, self._refuse_overdue)

    async def close(self) -> None:
        """Returns when all that was submitted is done; refuses what comes later."""
        self._closed = True
        for _ in self._threads:
            self._requests.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        connection = _Connection(self._database, self._resellers, writes=self._writes)
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
            self._join(batch)
            outcomes, news = _run(connection, batch, self._join)
            if connection.phase is _Phase.BEGINNING:
                # Whoever has queued meanwhile fails with the same error.
                self._join(batch, MOST_QUEUED)
                outcomes += [outcomes[-1]] * (len(batch) - len(outcomes))
            served = len(batch)
            self._loop.call_soon_threadsafe(self._resolve, batch, outcomes, news)
            connection.settle()
        connection.end()

    def _linger_s(self, served: int) -> float:
        if not self._writes:
            return _LINGER_S
        return min(max(_LINGER_S, served * _LINGER_EACH_S), _LINGER_MOST_S)

    def _join(self, batch: list[_Request], most: int = MOST_IN_BATCH) -> None:
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
        self, batch: list[_Request], outcomes: Sequence[Any], news: Sequence[News]
    ) -> None:
        for request, outcome in zip(batch, outcomes, strict=True):
            if request.future.done():  # its caller has gone
                continue
            if isinstance(outcome, Exception):
                request.future.set_exception(outcome)
            else:
                request.future.set_result(outcome)
        if self._on_commit:
            for each in news:
                if any(each):
                    self._on_commit(each)


class _Phase(Enum):
    """How far a transaction got."""

    BEGINNING = "nothing has been done"
    WORKING = "a request was at fault, if any"
    COMMITTING = "whether it took place is known only if there is no error"


class _Connection:
    """A connection that is made when first needed, and anew after it failed."""

    def __init__(self, database: Database, resellers: KnownResellers, *, writes: bool) -> None:
        self._database = database
        self._resellers = resellers
        self._writes = writes
        self._connection: PoolProxiedConnection | None = None
        self._marks = LogMarks(database) if writes and database.is_sqlite else None
        self.phase = _Phase.BEGINNING

    def settle(self) -> None:
        """Does what can wait until the batch has been answered."""
        if self._connection is not None and self._marks:
            self._marks.committed(self._connection)

    def end(self) -> None:
        """Closes it for good."""
        if self._connection is not None and self._marks:
            self._marks.closing(self._connection)
        self.close()

    def transact(self, batch: list[_Request], join: Join) -> tuple[list[Any], News]:
        """Runs the batch in one transaction; on an error nothing of it stays.

        Those that came while the transaction waited to begin join the batch.
        """
        self.phase = _Phase.BEGINNING
        if self._connection is None:
            self._connection = self._database.connect(writes=self._writes)
        connection = self._connection
        try:
            cursor = connection.cursor()
            transaction = Transaction(
                cursor, self._database.engine.dialect, ResellerNumbers(self._resellers)
            )
            if self._writes:
                self._database.begin(cursor)
            self.phase = _Phase.WORKING
            join(batch)
            outcomes = _outcomes(transaction, batch)
            if self._writes:
                transaction.finish()
                self.phase = _Phase.COMMITTING
                cursor.execute("COMMIT")
            cursor.close()
        except Exception as error:
            self._recover(connection, error)
            raise
        transaction.resellers.share()
        news = News(
            tuple(transaction.ended),
            transaction.has_work,
            transaction.changes_access,
            transaction.logged,
            transaction.has_deliveries,
        )
        return outcomes, news

    def _recover(self, connection: PoolProxiedConnection, error: Exception) -> None:
        """Rolls back; gives the connection up where that fails or it may be at fault."""
        try:
            connection.rollback()
        except Exception:
            self.close()
        else:
            if classify(error) is not ErrorClass.CONFLICT:
                self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                _log.debug("closing a broken connection: %s", type(error).__name__)


def _outcomes(transaction: Transaction, batch: Sequence[_Request]) -> list[Any]:
    """Returns the outcome of each request, done kind by kind."""
    handler = batch[0].handler
    if all(request.handler is handler for request in batch):
        return list(handler(transaction, [request.argument for request in batch]))
    outcomes: list[Any] = [None] * len(batch)
    kinds: dict[BatchHandler[Any, Any], list[int]] = {}
    for index, request in enumerate(batch):
        kinds.setdefault(request.handler, []).append(index)
    for handler, indexes in kinds.items():
        results = handler(transaction, [batch[index].argument for index in indexes])
        for index, result in zip(indexes, results, strict=True):
            outcomes[index] = result
    return outcomes


def one_by_one(
    step: Callable[[Transaction, A], R],
) -> BatchHandler[A, R]:
    """Makes a batch handler of a function for one request that refuses before it changes anything."""

    @wraps(step)
    def handler(transaction: Transaction, batch: Sequence[A]) -> list[R | Exception]:
        outcomes: list[R | Exception] = []
        for argument in batch:
            try:
                outcomes.append(step(transaction, argument))
            except BillingError as error:
                outcomes.append(error)
        return outcomes

    return handler


def _run(
    connection: _Connection, batch: list[_Request], join: Join
) -> tuple[list[Any], list[News]]:
    """Runs a batch, with those that join it, to the end, whatever the end is.

    Conflicts are tried again: then the rows that were in the way are seen. A connection that
    turns out to be dead is replaced, unless the commit was under way: whether that took place is
    not known. What fails for any other reason is found by running the requests one by one.
    """
    tries = {ErrorClass.CONFLICT: 3, ErrorClass.DISCONNECTED: 1}
    while True:
        try:
            outcomes, news = connection.transact(batch, join)
            return outcomes, [news]
        except Exception as error:
            error_class, failure = classify(error), error
        left = tries.get(error_class, 0)
        if not left or (
            error_class is ErrorClass.DISCONNECTED and connection.phase is _Phase.COMMITTING
        ):
            break
        tries[error_class] = left - 1
    if len(batch) == 1 or error_class not in _ONE_BY_ONE:
        return [to_billing_error(failure)] * len(batch), []
    outcomes = []
    told: list[News] = []
    for request in batch:
        (outcome,), its_news = _run(connection, [request], lambda _: None)
        outcomes.append(outcome)
        told += its_news
    return outcomes, told
