"""Records for tests, at times that the tests choose."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.errors import Reason
from server.domain.filters import And, Comparator, Comparison, Filter, Value
from server.domain.invitations import InvitationList, InvitationState, NewInvitation, invite
from server.domain.mail import DeliveryState
from server.domain.operations import Failure, Operation
from server.storage import open_storage
from server.storage.interface import Delivery, IdempotencyKey, Listed, Storage
from server.storage.invitations.read import find_invitations
from server.storage.operations.read import by_number
from server.storage.sql.statements import Transaction
from server.storage.storage import SqlStorage
from tests.storage.databases import query

RecordT = TypeVar("RecordT")

START = datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
RESELLER = "reseller-1"
SECOND_RESELLER = "reseller-2"
ACTOR = Actor("subject-1", "key-1", "request-1")
LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)
# What the storages of these tests keep keys for, and what invitations hold for.
KEY_LIFETIME = DAY
INVITATION_LIFETIME = 30 * DAY
# What ends an operation whose e-mail is refused for good.
REFUSED = Failure(Reason.RECIPIENT_REFUSED, "No such mailbox.", {})


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[SqlStorage]:
    """Opens a storage and closes it."""
    storage = await open_storage(database_url, idempotency_lifetime=KEY_LIFETIME)
    try:
        yield storage
    finally:
        await storage.close()


def new(
    email: str | None = None,
    *,
    reseller_id: str = RESELLER,
    now: datetime = START,
    tin: str = "7736207543",
    name: str = "ООО «Ромашка»",
) -> NewInvitation:
    """Returns an invitation to record; without an address, for one that no other has."""
    return invite(
        reseller_id=reseller_id,
        name=name,
        email=email or f"{uuid.uuid4()}@example.com",
        person={"name": "Иван 'Ваня' Петров", "tin": tin},
        actor=ACTOR,
        now=now,
        lifetime=INVITATION_LIFETIME,
    )


def key(name: str, request: str = "request") -> IdempotencyKey:
    """Returns the same key for the same name, and the same fingerprint for the same request."""
    return IdempotencyKey(
        hashlib.sha256(name.encode()).digest(), hashlib.sha256(request.encode()).digest()
    )


async def invited(storage: Storage, now: datetime = START) -> Operation:
    """Records an invitation."""
    return await storage.invitations.create_invitation(new(now=now), None)


async def claimed(storage: Storage, now: datetime = START) -> Delivery:
    """Claims the one e-mail that is due."""
    (delivery,) = await storage.mail.claim_deliveries(10, now, LEASE)
    return delivery


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition, which changes in this event loop, holds."""
    while not condition():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


def add_reseller(database_url: str) -> None:
    """Adds RESELLER to a database that no storage is open on."""
    query(
        database_url,
        "INSERT INTO resellers (n, id, name, created_at, modified_at) "
        "VALUES (1, :id, 'Reseller', 1, 1)",
        id=RESELLER,
    )


def invitations(
    state: InvitationState | None = None,
    email: str | None = None,
    delivery: DeliveryState | None = None,
    *,
    reseller_id: str = RESELLER,
    oldest_first: bool = False,
) -> InvitationList:
    """Returns the list of those that have all of this; None: whatever they have."""
    wanted: Sequence[tuple[str, Value | None]] = (
        ("state", state),
        ("email", address_key(email) if email else None),
        ("delivery.state", delivery),
    )
    equal = tuple(
        Comparison(field, Comparator.EQUAL, value) for field, value in wanted if value is not None
    )
    filter_ = And(equal) if len(equal) > 1 else next(iter(equal), None)
    return InvitationList(reseller_id, filter_, oldest_first=oldest_first)


DONE = Comparison("done", Comparator.EQUAL, True)
NOT_DONE = Comparison("done", Comparator.EQUAL, False)


def done_is(done: bool | None) -> Filter | None:
    """Returns the filter of operations for what is done, or is not; None: for both."""
    return {True: DONE, False: NOT_DONE, None: None}[done]


def records(rows: Sequence[Listed[RecordT]]) -> list[RecordT]:
    """Returns the records of a list, without their cursors."""
    return [row.record for row in rows]


async def latest_operation(storage: SqlStorage, invitation_id: str) -> str:
    """Returns the ID of the operation that sent, or is to send, an invitation's latest e-mail."""

    def find(transaction: Transaction, batch: Sequence[str]) -> list[str | Exception]:
        rows = find_invitations(transaction, batch)
        return [by_number(transaction, rows[id_].latest).id for id_ in batch]

    return await storage._reads.submit(find, invitation_id)
