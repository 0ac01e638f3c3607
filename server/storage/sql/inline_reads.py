"""Reads of single rows that need no thread."""

import logging
import sqlite3
from typing import TypeVar

from server.storage.sql.batches import Batcher
from server.storage.sql.connections import Database
from server.storage.sql.reseller_cache import ResellerCache, TransactionResellers
from server.storage.sql.statements import Transaction
from server.storage.sql.transactions import BatchHandler

A = TypeVar("A")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class InlineReads:
    """Reads rows of a SQLite file in the event loop, over a connection that waits for nobody.

    Such a row is nearly always in memory, and handing the question to a thread and the answer back
    costs several times what the read does. Where it fails, the thread tries again, waits for
    others' locks and classifies the error. On PostgreSQL every read waits, so all are left to the thread.
    """

    def __init__(self, database: Database, reads: Batcher, resellers: ResellerCache) -> None:
        self._reads = reads
        self._database = database
        self._transaction: Transaction | None = None
        if database.is_sqlite:
            self._connection = database.connect()
            cursor = self._connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("SELECT 1 FROM log_marks")  # opens the log, until `close`
            cursor.fetchall()
            self._transaction = Transaction(
                cursor, database.engine.dialect, TransactionResellers(resellers)
            )

    async def read(self, handler: BatchHandler[A, R], argument: A) -> R:
        """Returns what `handler` finds for one argument; raises what `Batcher.submit` does."""
        if self._transaction and not self._database.has_moved:
            try:
                (found,) = handler(self._transaction, [argument])
                self._transaction.resellers.share()  # each read sees what is committed
            except sqlite3.Error as error:
                _log.debug("a read is left to the thread: %s", type(error).__name__)
            else:
                if not isinstance(found, Exception):
                    return found
        return await self._reads.submit(handler, argument)

    def close(self) -> None:
        """Leaves later reads to the thread."""
        if self._transaction:
            self._transaction = None
            self._connection.close()
