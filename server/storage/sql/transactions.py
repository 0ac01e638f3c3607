"""Running a batch of requests in one transaction, to the end, whatever the end is."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache, wraps
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import PoolProxiedConnection

from server.domain.errors import BillingError
from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import ErrorClass, classify, to_billing_error
from server.storage.sql.log_marks import LogMarks
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
Join = Callable[[list[Request]], None]


class Phase(Enum):
    """How far a transaction got."""

    BEGINNING = "nothing has been done"
    WORKING = "a request was at fault, if any"
    COMMITTING = "whether it took place is known only if there is no error"


class BatchConnection:
    """A connection that is made when first needed, and anew after it failed."""

    def __init__(self, database: Database, resellers: ResellerCache, *, writes: bool) -> None:
        self._database = database
        self._resellers = resellers
        self._writes = writes
        self._connection: PoolProxiedConnection | None = None
        self._marks = LogMarks(database) if writes and database.is_sqlite else None
        self.phase = Phase.BEGINNING

    def settle(self) -> None:
        """Does what can wait until the batch has been answered."""
        if self._connection is not None and self._marks:
            self._marks.committed(self._connection)

    def end(self) -> None:
        """Closes it for good."""
        if self._connection is not None and self._marks:
            self._marks.closing(self._connection)
        self.close()

    def transact(self, batch: list[Request], join: Join) -> tuple[list[Any], News]:
        """Runs the batch in one transaction; on an error nothing of it stays.

        Those that came while the transaction waited to begin join the batch.
        """
        self.phase = Phase.BEGINNING
        if self._connection is None:
            # A new one would open whatever is there by now.
            self._database.require_files()
            self._connection = self._database.connect(writes=self._writes)
        connection = self._connection
        try:
            cursor = connection.cursor()
            transaction = Transaction(
                cursor, self._database.engine.dialect, TransactionResellers(self._resellers)
            )
            if self._writes:
                self._database.begin(cursor)
            self.phase = Phase.WORKING
            join(batch)
            outcomes = _outcomes(transaction, batch)
            if self._writes:
                transaction.finish()
                self.phase = Phase.COMMITTING
                cursor.execute("COMMIT")
            cursor.close()
            # After the commit: only what is in files that others find is acknowledged.
            self._database.require_files()
        except Exception as error:
            self._recover(connection, error)
            raise
        for event_type, count in Counter(event.type for event in transaction.events).items():
            EVENTS.labels(event_type.value).inc(count)
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
            error_class is ErrorClass.DISCONNECTED and connection.phase is Phase.COMMITTING
        ):
            break
        tries[error_class] = left - 1
    if len(batch) == 1 or error_class not in _ONE_BY_ONE:
        return [to_billing_error(failure)] * len(batch), []
    outcomes = []
    told: list[News] = []
    for request in batch:
        (outcome,), its_news = run_batch(connection, [request], lambda _: None)
        outcomes.append(outcome)
        told += its_news
    return outcomes, told
