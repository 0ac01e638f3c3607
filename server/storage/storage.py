"""The storage on SQLite or PostgreSQL: its parts, put together.

Each part implements one protocol of `interface`: a method hands its request to a batch handler, which
does it together with those that arrived at the same time.
"""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

from server.domain.limits import Limits
from server.storage.access.storage import SqlAccess, SqlAdministration
from server.storage.backlog import SqlBacklog
from server.storage.billing_accounts import SqlBillingAccounts
from server.storage.customers.storage import SqlCustomers
from server.storage.emptying import SqlEmptying
from server.storage.events.storage import SqlEvents
from server.storage.invitations.bounces import SqlBounces
from server.storage.invitations.storage import SqlInvitations
from server.storage.keys import KeyLifetime
from server.storage.notify.notifier import Notifier
from server.storage.notify.sockets import SocketTransport, signals_folder
from server.storage.operations.storage import SqlOperations, SqlWaits
from server.storage.operators.storage import SqlOperators
from server.storage.probe import SqlProbe
from server.storage.retention import SqlRetention
from server.storage.sql.batches import Batcher
from server.storage.sql.connections import Database
from server.storage.sql.driver_errors import to_billing_error
from server.storage.sql.inline_reads import InlineReads
from server.storage.sql.reseller_cache import ResellerCache
from server.storage.suppressions import SqlSuppressions
from server.storage.webhooks.alerts import SqlAlerts
from server.storage.webhooks.delivery_storage import SqlDeliveries
from server.storage.webhooks.storage import SqlWebhooks
from server.storage.work.reminders import SqlReminders
from server.storage.work.storage import SqlMail
from server.telemetry import metrics

_log = logging.getLogger(__name__)


_NO_LIMITS = Limits()


async def open_storage(
    database_url: str,
    *,
    idempotency_lifetime: timedelta,
    limits: Limits = _NO_LIMITS,
    pooled: bool = False,
    listen_url: str = "",
) -> "SqlStorage":
    """Opens the storage at `sqlite:///path` or `postgresql://…`.

    Keys older than `idempotency_lifetime` count as unknown. `pooled` and `listen_url` are those of
    `Database`.
    Raises SchemaError unless `migrate` has made the schema that this code works with,
    STORAGE_UNAVAILABLE if the database can't be reached, ValueError for a URL of another kind.
    """
    database = Database(database_url, pooled=pooled, listen_url=listen_url)
    try:
        await asyncio.to_thread(database.require_schema)
    except Exception as error:
        raise to_billing_error(error) from None
    return SqlStorage(database, idempotency_lifetime, limits)


class SqlStorage:
    """Implements `server.storage.interface.Storage`."""

    def __init__(
        self, database: Database, idempotency_lifetime: timedelta, limits: Limits = _NO_LIMITS
    ) -> None:
        resellers = ResellerCache({}, {})
        self._notifier = notifier = Notifier()

        def batcher(name: str, *, writes: bool, threads: int = 1) -> Batcher:
            on_commit = notifier.publish if writes else None
            return Batcher(
                *(database, name),
                writes=writes,
                threads=threads,
                on_commit=on_commit,
                resellers=resellers,
            )

        # SQLite has one writer; on PostgreSQL a sweep of its own keeps no call waiting.
        self._writes = writes = batcher(
            "storage-writes", writes=True, threads=1 if database.is_sqlite else 2
        )
        self._database = database
        self._sweeps = writes if database.is_sqlite else batcher("storage-sweeps", writes=True)
        self._reads = reads = batcher("storage-reads", writes=False)
        self._inline = inline = InlineReads(database, reads, resellers)
        database.watch_files()

        keys = KeyLifetime(idempotency_lifetime)
        self.invitations = SqlInvitations(writes, reads, keys, limits)
        self.customers = SqlCustomers(writes, reads, inline, keys, limits)
        self.billing_accounts = SqlBillingAccounts(reads)
        self.operations = SqlOperations(writes, reads, inline, keys)
        self.waits = SqlWaits(self.operations, notifier)
        self.mail = SqlMail(writes, reads, notifier)
        self.reminders = SqlReminders(writes, reads, notifier)
        self.suppressions = SqlSuppressions(writes, reads, keys)
        self.bounces = SqlBounces(writes, reads)
        self.events = SqlEvents(reads, notifier, resellers)
        self.deliveries = SqlDeliveries(self._sweeps, writes, reads, notifier)
        self.alerts = SqlAlerts(writes, reads, notifier)
        self.retention = SqlRetention(self._sweeps, keys)
        self.webhooks = SqlWebhooks(writes, self._sweeps, reads, inline, keys)
        self.access = SqlAccess(writes, reads, notifier, keys)
        self.backlog = SqlBacklog(reads)
        self.emptying = SqlEmptying(writes)
        self.probe = self.clock = SqlProbe(database)
        self.administration = SqlAdministration(writes, reads)
        self.operators = SqlOperators(writes, reads)
        self._connect_notifier(database, resellers)
        queues = {"writes": writes, "sweeps": self._sweeps, "reads": reads}
        metrics.gauge(
            "billing_database_queued_requests",
            "Requests that wait for a transaction.",
            ["queue"],
            lambda: {(name,): queue.queued for name, queue in queues.items()},
        )

    def _connect_notifier(self, database: Database, resellers: ResellerCache) -> None:
        if not database.is_sqlite:
            # Only here: on SQLite, a server starts without PostgreSQL's driver.
            from server.storage.notify.postgres import PostgresTransport

            self._notifier.transport = PostgresTransport(
                *(database.servers, database.listened),
                self._notifier.receive,
                lambda: self._notifier.look_again(list(resellers.ids)),
            )
            return
        folder = signals_folder(Path(str(database.url.database)))
        try:
            self._notifier.transport = SocketTransport(folder, self._notifier.receive)
        except OSError as error:
            _log.warning("processes will notice each other's changes a second late: %s", error)

    async def close(self) -> None:
        """Lets what is under way finish and gives the connections back."""
        await self.probe.close()
        if self._sweeps is not self._writes:
            await self._sweeps.close()
        await self._writes.close()
        self._inline.close()
        await self._reads.close()
        self._database.leave_files()
        transport, self._notifier.transport = self._notifier.transport, None
        if transport:
            await transport.close()
