"""Running a batch of requests in one transaction, to the end, whatever the end is.

Longer than others: what is refused, committed and in doubt is settled here, and nowhere else.
"""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache, wraps
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import PoolProxiedConnection

from server.domain.errors import BillingError
from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import (
    ErrorClass,
    RefusedError,
    UnreplicatedError,
    classify,
    in_doubt,
    to_billing_error,
    unavailable,
)
from server.storage.sql.log_marks import LogMarks
from server.storage.sql.postgres_socket import SocketHandle
from server.storage.sql.reseller_cache import ResellerCache, TransactionResellers
from server.storage.sql.statements import Transaction
from server.telemetry.metrics import EVENTS

A = TypeVar("A")
R = TypeVar("R")

# What one request of a batch may have done to the others.
_ONE_BY_ONE = (ErrorClass.CONFLICT, ErrorClass.UNFIT, ErrorClass.UNEXPECTED)

# Does one kind of request for many callers at once. Returns an outcome for each, in their order;
# a refusal of one is an exception among the results. What it raises undoes the whole transaction.
BatchHandler = Callable[[Transaction, Sequence[A]], Sequence[R | Exception]]

_log = logging.getLogger(__name__)


class Request(NamedTuple):
    handler: BatchHandler[Any, Any]
    argument: Any
    future: asyncio.Future[Any]


class Notice(NamedTuple):
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
Join = Callable[[list[Request]], None]


class Phase(Enum):
    """How far a transaction got."""

    BEGINNING = "nothing has been done"
    WORKING = "a request was at fault, if any"
    COMMITTING = "whether it took place is known only if there is no error"


# How long PostgreSQL may say nothing to one statement before the connection is given up. It ends a
# statement itself after `connections.TIMEOUT_S`, if it can. A commit that is given up is in doubt, so
# it has longer.
SILENT_S = {Phase.BEGINNING: 2.0, Phase.WORKING: 4.0, Phase.COMMITTING: 6.0}


class Commits:
    """Keeps a request that waits too long from being refused as not done while it is committed.

    The loop refuses, other threads commit. A batch with a request that has been refused is not
    committed; a request whose commit has begun is refused as in doubt, until it is answered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: set[asyncio.Future[Any]] = set()

    def begin(self, batch: Sequence[Request]) -> None:
        """To be called before a commit. Raises RefusedError if one of the batch has been refused."""
        with self._lock:
            for request in batch:
                if request.future.done() and not request.future.cancelled():
                    raise RefusedError
            self._begun.update([request.future for request in batch])

    def refuse(self, future: asyncio.Future[Any]) -> None:
        """Refuses one that has waited too long: in doubt if its commit has begun, else not done."""
        with self._lock:
            future.set_exception(in_doubt() if future in self._begun else unavailable())

    def answered(self, batch: Sequence[Request]) -> None:
        """To be called once all of a batch have been answered, or have left it."""
        with self._lock:
            self._begun.difference_update([request.future for request in batch])


class BatchConnection:
    """A connection that is made when first needed, and anew after it failed.

    `commits` knows what must not be refused as not done any more.
    """

    def __init__(
        self,
        database: Database,
        resellers: ResellerCache,
        *,
        writes: bool,
        commits: "Commits",
    ) -> None:
        self._database = database
        self._resellers = resellers
        self._writes = writes
        self._commits = commits
        self._connection: PoolProxiedConnection | None = None
        self._handle: SocketHandle | None = None
        self._marks = LogMarks(database) if writes and database.is_sqlite else None
        self.phase = Phase.BEGINNING
        # What `watch` saw last, and since when it has been so.
        self._at_work = False
        self._transaction: Transaction | None = None
        self._seen: tuple[object, ...] = ()
        self._seen_since_s = 0.0
        self._warned = False

    def settle(self) -> None:
        """Does what can wait until the batch has been answered."""
        if self._connection is not None and self._marks:
            self._marks.committed(self._connection)

    def end(self) -> None:
        """Closes it for good."""
        if self._connection is not None and self._marks:
            self._marks.closing(self._connection)
        self.close()

    def watch(self, now_s: float) -> bool:
        """Ends a wait that takes too long; returns whether a transaction is under way.

        To be called now and then from another thread, with a clock that nobody sets.
        """
        if not self._at_work:
            return False
        transaction, phase = self._transaction, self.phase
        seen = (transaction, phase, transaction.steps if transaction else 0)
        if seen != self._seen:
            self._seen, self._seen_since_s = seen, now_s
        elif self._handle and now_s - self._seen_since_s >= SILENT_S[phase]:
            self._handle.shut_down()
        return True

    def transact(self, batch: list[Request], join: Join) -> tuple[list[Any], Notice]:
        """Runs the batch in one transaction; on an error nothing of it stays.

        Those that came while the transaction waited to begin join the batch; those that have been
        refused meanwhile leave it. Raises RefusedError where that leaves none, or came too late.
        """
        self._at_work = True
        try:
            return self._transact(batch, join)
        finally:
            self._transaction = None
            self._at_work = False

    def leave_out_ended(self, batch: list[Request]) -> None:
        """Takes those out of a batch that have been refused, or whose callers have gone."""
        if any(request.future.done() for request in batch):
            left = [request for request in batch if not request.future.done()]
            kept = {id(request) for request in left}
            self._commits.answered([request for request in batch if id(request) not in kept])
            batch[:] = left

    def _transact(self, batch: list[Request], join: Join) -> tuple[list[Any], Notice]:
        self.phase = Phase.BEGINNING
        connection = self._connection or self._connect()
        try:
            cursor = connection.cursor()
            transaction = self._transaction = Transaction(
                cursor, self._database.engine.dialect, TransactionResellers(self._resellers)
            )
            if self._writes:
                self._database.begin(cursor)
            self.phase = Phase.WORKING
            join(batch)
            self.leave_out_ended(batch)
            if not batch:
                raise RefusedError
            outcomes = _outcomes(transaction, batch)
            if self._writes:
                transaction.finish()
                if self._marks and transaction.events:
                    self._marks.wrote_events(cursor)
                self._commits.begin(batch)
                self._warned = False
                self.phase = Phase.COMMITTING
                cursor.execute("COMMIT")
                if self._warned:
                    raise UnreplicatedError
            cursor.close()
            # After the commit: only what is in files that others find is acknowledged.
            self._database.require_files()
        except Exception as error:
            self._recover(connection, error)
            raise
        for event_type, count in Counter(event.type for event in transaction.events).items():
            EVENTS.labels(event_type.value).inc(count)
        transaction.resellers.share()
        notice = Notice(
            tuple(transaction.ended),
            transaction.has_work,
            transaction.changes_access,
            transaction.logged,
            transaction.has_deliveries,
        )
        return outcomes, notice

    def _connect(self) -> PoolProxiedConnection:
        # A new one would open whatever is there by now.
        self._database.require_files()
        connection = self._connection = self._database.connect(writes=self._writes)
        if not self._database.is_sqlite:
            driver: Any = connection.driver_connection
            self._handle = self._database.servers.socket_handle(driver)
            driver.add_notice_handler(self._noticed)
        return connection

    def _noticed(self, diagnostic: Any) -> None:
        # A commit whose wait for its standby was broken off is done and answered all the same.
        if self.phase is Phase.COMMITTING and diagnostic.severity_nonlocalized == "WARNING":
            self._warned = True

    def _recover(self, connection: PoolProxiedConnection, error: Exception) -> None:
        """Rolls back; gives the connection up where that fails or it may be at fault."""
        if classify(error) is ErrorClass.FULL:
            self._database.is_full = True
        try:
            connection.rollback()
        except Exception:
            self.close()
        else:
            if classify(error) is not ErrorClass.CONFLICT:
                self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        handle, self._handle = self._handle, None
        if handle:
            handle.close()
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                _log.debug("closing a broken connection: %s", type(error).__name__)


def _outcomes(transaction: Transaction, batch: Sequence[Request]) -> list[Any]:
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


@cache
def dry_run(handler: BatchHandler[A, R]) -> BatchHandler[A, R]:
    """Makes a batch handler that finds what another one would answer to each request, and does nothing."""

    @wraps(handler)
    def run(transaction: Transaction, batch: Sequence[A]) -> list[R | Exception]:
        outcomes: list[R | Exception] = []
        for argument in batch:
            with transaction.undone() as inner:
                outcomes += handler(inner, [argument])
        return outcomes

    return run


def run_batch(
    connection: BatchConnection, batch: list[Request], join: Join
) -> tuple[list[Any], list[Notice]]:
    """Runs a batch, with those that join it, to the end, whatever the end is.

    Conflicts are tried again: then the rows that were in the way are seen. A connection that
    turns out to be dead is replaced, unless the commit was under way: whether that took place is
    not known. What fails for any other reason is found by running the requests one by one. Those
    that have been refused or have gone meanwhile are taken out of the batch, and not done.
    """
    tries = {ErrorClass.CONFLICT: 3, ErrorClass.DISCONNECTED: 1}
    while True:
        try:
            outcomes, notice = connection.transact(batch, join)
            return outcomes, [notice]
        except Exception as error:
            error_class, failure = classify(error), error
        connection.leave_out_ended(batch)
        if not batch:
            return [], []
        if isinstance(failure, RefusedError):
            continue
        if connection.phase is Phase.COMMITTING and _leaves_doubt(failure, error_class):
            to_billing_error(failure)  # counted and logged
            return [in_doubt()] * len(batch), []
        left = tries.get(error_class, 0)
        if not left:
            break
        tries[error_class] = left - 1
    if len(batch) == 1 or error_class not in _ONE_BY_ONE:
        return [to_billing_error(failure)] * len(batch), []
    outcomes = []
    notices: list[Notice] = []
    for request in batch:
        outcome, its_notices = run_batch(connection, [request], lambda _: None)
        outcomes += outcome or [None]  # None where it has been refused meanwhile
        notices += its_notices
    return outcomes, notices


def _leaves_doubt(failure: Exception, error_class: ErrorClass) -> bool:
    """Tells whether a commit that failed so may have taken place, or may yet."""
    return error_class is ErrorClass.DISCONNECTED or isinstance(failure, UnreplicatedError)
