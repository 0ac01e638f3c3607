"""The storage on SQLite or PostgreSQL."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from server.domain.addresses import address_key
from server.domain.customers import Customer, NewCustomer
from server.domain.errors import BillingError
from server.domain.invitations import (
    Invitation,
    InvitationAction,
    InvitationState,
    InvitationView,
    NewInvitation,
    link_token_hash,
)
from server.domain.limits import Limits
from server.domain.operations import Deferral, Failure, Operation
from server.storage import (
    access,
    customers,
    deeds,
    deliveries,
    endings,
    invitation_reads,
    invitations,
    operations,
)
from server.storage.access_store import SqlAccess
from server.storage.batches import Batcher
from server.storage.database import Database
from server.storage.failures import refusal
from server.storage.idempotency import KeyUse
from server.storage.interface import FURTHEST, Cursor, Delivery, IdempotencyKey
from server.storage.point_reads import PointReads
from server.storage.posts import SocketPost
from server.storage.retention import SqlRetention
from server.storage.rows import microseconds, time
from server.storage.signals import Signals
from server.storage.statements import Transaction

_log = logging.getLogger(__name__)

# Those who wait for a signal look for themselves this often: signals may be lost.
_LOOK_EVERY = timedelta(seconds=1)
_NO_LIMITS = Limits()


async def open_storage(
    database_url: str, *, idempotency_lifetime: timedelta, limits: Limits = _NO_LIMITS
) -> "SqlStorage":
    """Opens the storage at `sqlite:///path` or `postgresql://…`.

    Keys older than `idempotency_lifetime` count as unknown.
    Raises SchemaError unless `migrate` has made the schema that this code works with,
    STORAGE_UNAVAILABLE if the database can't be reached, ValueError for a URL of another kind.
    """
    database = Database(database_url)
    try:
        await asyncio.to_thread(database.require_schema)
    except Exception as error:
        raise refusal(error) from None
    return SqlStorage(database, idempotency_lifetime, limits)


class SqlStorage(SqlAccess, SqlRetention):
    """Implements `server.storage.interface.Storage`."""

    def __init__(
        self, database: Database, idempotency_lifetime: timedelta, limits: Limits = _NO_LIMITS
    ) -> None:
        self._lifetime = idempotency_lifetime
        self._limits = limits
        self._signals = Signals()
        self._writes = Batcher(
            database,
            "storage-writes",
            writes=True,
            threads=1 if database.is_sqlite else 2,
            on_commit=self._signals.publish,
        )
        self._sweeps = self._writes
        if not database.is_sqlite:
            # There a transaction of its own keeps no call waiting.
            self._sweeps = Batcher(
                database, "storage-sweeps", writes=True, on_commit=self._signals.publish
            )
        self._reads = Batcher(database, "storage-reads", writes=False)
        self._points = PointReads(database, self._reads)
        self._connect_signals(database)

    def _connect_signals(self, database: Database) -> None:
        if not database.is_sqlite:
            # Only here: on SQLite, a server starts without PostgreSQL's driver.
            from server.storage.postgres_posts import PostgresPost

            self._signals.post = PostgresPost(database.conninfo, self._signals.receive)
            return
        folder = Path(f"{database.url.database}-signals")
        try:
            self._signals.post = SocketPost(folder, self._signals.receive)
        except OSError as error:
            _log.warning("processes will notice each other's changes a second late: %s", error)

    async def create_invitation(self, new: NewInvitation, key: IdempotencyKey | None) -> Operation:
        use = self._use(key, new.operation.created_at) if key else None
        creation = invitations.Creation(new, address_key(new.invitation.email), use, self._limits)
        return await self._writes.submit(invitations.create, creation)

    async def look_up_invitation(self, token_hash: bytes) -> InvitationView | None:
        return await self._reads.submit(invitation_reads.look_up, token_hash)

    async def answer_invitation(
        self, token_hash: bytes, action: InvitationAction, now: datetime, key: IdempotencyKey | None
    ) -> Invitation | None:
        use = self._use(key, now) if key else None
        answered = await self._act(deeds.Answer(token_hash, action, now, use))
        return cast("Invitation | None", answered)

    async def get_invitation(self, invitation_id: str) -> Invitation | None:
        return await self._reads.submit(invitation_reads.get, invitation_id)

    async def list_invitations(
        self,
        reseller_id: str,
        state: InvitationState | None,
        email: str | None,
        now: datetime,
        limit: int,
        after: Cursor | None,
    ) -> list[Invitation]:
        email_key = None if email is None else address_key(email)
        page = invitation_reads.Page(reseller_id, state, email_key, microseconds(now), limit, after)
        return await self._reads.submit(invitation_reads.list_pages, page)

    async def resend_invitation(
        self,
        invitation_id: str,
        operation: Operation,
        expires_at: datetime,
        interval: timedelta,
        key: IdempotencyKey | None,
    ) -> Operation | None:
        use = self._use(key, operation.created_at) if key else None
        resending = deeds.Resending(
            invitation_id, operation, expires_at, interval, use, self._limits
        )
        return cast("Operation | None", await self._act(resending))

    async def revoke_invitation(
        self, invitation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> Invitation | None:
        use = self._use(key, now) if key else None
        revoked = await self._act(deeds.Revocation(invitation_id, now, use))
        return cast("Invitation | None", revoked)

    async def create_customer(self, new: NewCustomer, key: IdempotencyKey | None) -> Operation:
        use = self._use(key, new.operation.created_at) if key else None
        return await self._writes.submit(customers.create, (new, use, self._limits))

    async def change_customer_state(
        self, operation: Operation, key: IdempotencyKey | None
    ) -> Operation | None:
        use = self._use(key, operation.created_at) if key else None
        return await self._writes.submit(customers.change_states, (operation, use))

    async def get_customer(self, customer_id: str) -> Customer | None:
        return await self._points.read(customers.get, customer_id)

    async def list_customers(
        self, reseller_id: str, limit: int, after: Cursor | None
    ) -> list[Customer]:
        return await self._reads.submit(
            customers.list_pages, customers.Page(reseller_id, limit, after)
        )

    async def get_operation(self, operation_id: str) -> Operation | None:
        return await self._points.read(operations.get, operation_id)

    async def list_operations(
        self, reseller_ids: Collection[str], done: bool | None, limit: int, after: Cursor | None
    ) -> list[Operation]:
        page = operations.Page(list(dict.fromkeys(reseller_ids)), done, limit, after)
        return await self._reads.submit(operations.list_pages, page)

    async def cancel_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> Operation | None:
        use = self._use(key, now) if key else None
        return await self._writes.submit(endings.cancel, (operation_id, microseconds(now), use))

    async def delete_operation(
        self, operation_id: str, now: datetime, key: IdempotencyKey | None
    ) -> bool:
        use = self._use(key, now) if key else None
        return await self._writes.submit(endings.delete_records, (operation_id, use))

    async def wait_operation(
        self,
        operation_id: str,
        longest: timedelta,
        before_look: Callable[[], Awaitable[None]] | None = None,
    ) -> Operation | None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + longest.total_seconds()
        with self._signals.operation(operation_id) as ended:
            while True:
                ended.clear()
                operation = await self.get_operation(operation_id)
                left_s = ends_at - loop.time()
                over = left_s <= 0 or self._signals.ended
                if operation is None or operation.done or over:
                    return operation
                await _wait(ended, min(left_s, _LOOK_EVERY.total_seconds()))
                if before_look:
                    await before_look()

    def end_waits(self) -> None:
        self._signals.end_waits()

    async def claim_deliveries(
        self,
        limit: int,
        now: datetime,
        lease: timedelta,
        furthest: timedelta = FURTHEST,
        *,
        retries_first: bool = False,
    ) -> list[Delivery]:
        until, far = microseconds(now + lease), microseconds(now + furthest)
        claim = deliveries.Claim(limit, microseconds(now), until, far, retries_first)
        return await self._writes.submit(deliveries.claim, claim)

    async def finish_delivery(self, delivery: Delivery, now: datetime) -> bool:
        return await self._finish(delivery, now)

    async def fail_delivery(self, delivery: Delivery, failure: Failure, now: datetime) -> bool:
        return await self._finish(delivery, now, failure=failure)

    async def retry_delivery(
        self,
        delivery: Delivery,
        due_at: datetime,
        now: datetime,
        deferral: Deferral | None = None,
        *,
        keep_link: bool = True,
    ) -> bool:
        return await self._finish(
            delivery,
            now,
            retry_at=microseconds(due_at),
            deferral=deferral,
            dropped_link=None if keep_link else link_token_hash(delivery.link_token),
        )

    async def wait_for_work(self, now: datetime, longest: timedelta) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        with self._signals.work() as work:
            while True:
                work.clear()
                due_at = await self._reads.submit(deliveries.next_due, None)
                passed = timedelta(seconds=loop.time() - started_at)
                left = longest - passed
                if due_at is not None:
                    left = min(left, time(due_at) - (now + passed))
                if left <= timedelta():
                    return
                await _wait(work, min(left, _LOOK_EVERY).total_seconds())

    async def ready(self) -> bool:
        try:
            await self._reads.submit(_ping, None)
        except BillingError:
            return False
        return True

    async def close(self) -> None:
        if self._sweeps is not self._writes:
            await self._sweeps.close()
        await self._writes.close()
        self._points.close()
        await self._reads.close()
        post, self._signals.post = self._signals.post, None
        if post:
            await post.close()

    async def _act(self, deed: deeds.Deed) -> deeds.Outcome:
        return await self._writes.submit(deeds.act, deed)

    async def _finish(self, delivery: Delivery, now: datetime, **outcome: Any) -> bool:
        finish = deliveries.Finish(
            delivery.operation_id, delivery.attempt, microseconds(now), **outcome
        )
        return await self._writes.submit(deliveries.finish, finish)

    def _use(self, key: IdempotencyKey, now: datetime) -> KeyUse:
        return KeyUse(key, microseconds(now), microseconds(now - self._lifetime))


def _ping(transaction: Transaction, batch: Sequence[None]) -> list[None]:
    transaction.fetch(access.PING)
    return [None] * len(batch)


async def _wait(event: asyncio.Event, longest_s: float) -> None:
    try:
        async with asyncio.timeout(longest_s):
            await event.wait()
    except TimeoutError:
        return
