"""Operations from and to rows."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Join

from server.domain import ids
from server.domain.access import Actor
from server.domain.errors import Reason
from server.domain.operations import Deferral, Failure, Operation
from server.storage import resellers
from server.storage.schema.codes import OPERATION_KIND_CODES, OPERATION_KINDS, OperationKindCode
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    NO_CUSTOMER,
    AccountId,
    ActorJson,
    CustomerId,
    CustomerNumber,
    DeferralJson,
    FailureJson,
    Fingerprint,
    IdempotencyKeyHash,
    OperationId,
    OperationNumber,
    OperationRow,
    ResellerNumber,
    SubjectId,
    customers,
    operations,
)
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import Insert, Transaction
from server.storage.sql.times import Micros, from_micros, micros

_WRITTEN = (
    "n",
    "kind",
    "reseller",
    "customer",
    "created_by",
    "created_at",
    "modified_at",
    "done",
    "due_at",
    "key",
    "fingerprint",
    "origin",
)
# Of those whose ID ends like their customer's, and of the others.
INSERT_MAKING = Insert(operations, OperationRow, *_WRITTEN)
INSERT_OTHERS = Insert(operations, OperationRow, *_WRITTEN, "id")


class OperationPart(NamedTuple):
    """What an operation's record is made of: its row and the IDs of its customer."""

    n: OperationNumber
    id: OperationId | None
    kind: OperationKindCode
    reseller: ResellerNumber
    created_by: SubjectId
    created_at: Micros
    modified_at: Micros
    done: bool
    failure: FailureJson | None
    deferral: DeferralJson | None
    customer_id: CustomerId | None
    billing_account_id: AccountId | None
    their_customer_id: CustomerId | None
    their_billing_account_id: AccountId | None
    deleted: bool
    customer: CustomerNumber
    due_at: Micros | None
    claimed: bool
    attempts: Count
    cancel_requested: bool
    cancelled_by: ActorJson | None

    @property
    def public_id(self) -> str:
        """The operation's ID."""
        return self.id or ids.OPERATION + (self.their_customer_id or "")[3:]

    def is_held(self, now: Micros) -> bool:
        """Tells whether a worker has it under a live lease."""
        return bool(self.claimed) and self.due_at is not None and self.due_at > now


# Operations and, where it is there, the customer of each.
WITH_CUSTOMERS: Join = operations.outerjoin(customers, customers.c.n == operations.c.customer)
OPERATION_PART: list[ColumnElement[Any]] = [
    customers.c.id
    if name == "their_customer_id"
    else customers.c.billing_account_id
    if name == "their_billing_account_id"
    else operations.c[name]
    for name in OperationPart._fields
]


class MakingOperation(NamedTuple):
    """What the record of an operation is made of whose ID ends like that of the customer it made.

    Fewer columns than of others: the driver of SQLite takes a thousand instructions over each.
    """

    their_customer_id: CustomerId
    their_billing_account_id: AccountId | None
    kind: OperationKindCode
    reseller: ResellerNumber
    created_by: SubjectId
    created_at: Micros
    modified_at: Micros
    done: bool
    failure: FailureJson | None
    deferral: DeferralJson | None
    deleted: bool


MAKING_OPERATION = [
    customers.c.id,
    customers.c.billing_account_id,
    *(operations.c[name] for name in MakingOperation._fields[2:]),
]


def making_operation(transaction: Transaction, row: MakingOperation) -> Operation:
    """Returns the record."""
    customer_id = row.their_customer_id
    ending = customer_id[3:]
    return Operation(
        ids.OPERATION + ending,
        OPERATION_KINDS[row.kind],
        resellers.reseller_id(transaction, row.reseller),
        customer_id,
        row.their_billing_account_id or ids.BILLING_ACCOUNT + ending,
        row.created_by,
        from_micros(row.created_at),
        from_micros(row.modified_at),
        bool(row.done),
        failure(row.failure) if row.failure else None,
        deferral(row.deferral) if row.deferral else None,
    )


def operation(transaction: Transaction, row: OperationPart) -> Operation:
    """Returns the record."""
    reseller_id = resellers.reseller_id(transaction, row.reseller)
    customer_id = row.customer_id or row.their_customer_id or CustomerId("")
    account_id: str | None = row.billing_account_id or row.their_billing_account_id
    if row.customer == NO_CUSTOMER:
        account_id = reseller_id
    return Operation(
        row.public_id,
        OPERATION_KINDS[row.kind],
        reseller_id,
        customer_id,
        account_id or ids.BILLING_ACCOUNT + customer_id[3:],
        row.created_by,
        from_micros(row.created_at),
        from_micros(row.modified_at),
        bool(row.done),
        failure(row.failure) if row.failure else None,
        deferral(row.deferral) if row.deferral else None,
    )


def operation_row(
    value: Operation,
    number: int,
    reseller: ResellerNumber,
    customer: CustomerNumber,
    key: tuple[IdempotencyKeyHash | None, Fingerprint | None],
    *,
    due_at: Micros | None = None,
    with_id: bool = False,
    origin: str | None = None,
) -> OperationRow:
    """Returns the row of a new operation; `due_at` is when a worker may take it up.

    `with_id`: for INSERT_OTHERS; `origin`: the call that asks for it.
    """
    created = micros(value.created_at)
    return OperationRow(
        n=OperationNumber(number),
        kind=OPERATION_KIND_CODES[value.kind],
        reseller=reseller,
        customer=customer,
        created_by=SubjectId(value.created_by),
        created_at=created,
        modified_at=created,
        done=value.done,
        id=OperationId(value.id) if with_id else None,
        due_at=due_at,
        key=key[0],
        fingerprint=key[1],
        origin=origin,
    )


def failure(text: FailureJson) -> Failure:
    """Returns what `failure_json` was given."""
    reason, message, metadata = from_json(text)
    return Failure(Reason(reason), message, metadata)


def failure_json(value: Failure) -> FailureJson:
    """Returns a failure as the database keeps it: a JSON array."""
    return FailureJson(to_json([value.reason, value.message, value.metadata]))


def actor(text: ActorJson) -> Actor:
    """Returns what `actor_json` was given."""
    return Actor(*from_json(text))


def actor_json(value: Actor) -> ActorJson:
    """Returns an actor as the database keeps it: a JSON array."""
    return ActorJson(to_json(value))


def deferral(text: DeferralJson) -> Deferral:
    """Returns what `deferral_json` was given."""
    attempt, problem, next_attempt_at, *reply = from_json(text)
    return Deferral(attempt, problem, from_micros(next_attempt_at), *reply)


def deferral_json(value: Deferral) -> DeferralJson:
    """Returns a deferral as the database keeps it: a JSON array."""
    attempt, problem, next_attempt_at, *reply = value
    return DeferralJson(to_json([attempt, problem, micros(next_attempt_at), *reply]))
