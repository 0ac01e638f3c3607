"""Rows from and to the domain's records."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import or_

from server.domain.customers import Customer, CustomerState
from server.domain.errors import Reason
from server.domain.invitations import Invitation, InvitationState
from server.domain.operations import Deferral, Failure, Operation, OperationKind
from server.storage.schema import customers, invitations, operations, resellers
from server.storage.statements import Insert

# Of invitations; empty when they are made.
_SET_LATER = (
    *("ended_at", "resent_at", "linked"),
    *("previous_operation_id", "previous_resent_at", "previous_expires_at"),
)
INSERT_OPERATIONS = Insert(operations, left_out=("failure", "keyed_at", "deferral"))
INSERT_CUSTOMERS = Insert(customers)
INSERT_INVITATIONS = Insert(invitations, left_out=_SET_LATER)

# One encoder for all: json.dumps would make one for each text that is not plain ASCII.
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {kind.value: kind for kind in OperationKind}

# What `operation` reads, in its order.
OPERATION_COLUMNS = [
    operations.c[name]
    for name in (
        "id",
        "kind",
        "reseller_id",
        "customer_id",
        "billing_account_id",
        "created_by",
        "created_at",
        "modified_at",
        "done",
        "failure",
        "deferral",
    )
]

# What `customer` reads, in its order.
CUSTOMER_COLUMNS = [
    customers.c[name]
    for name in (
        "id",
        "reseller_id",
        "billing_account_id",
        "name",
        "person",
        "email",
        "state",
        "created_at",
        "modified_at",
    )
]

# What `invitation` reads, in its order.
INVITATION_COLUMNS = [
    invitations.c[name]
    for name in (
        "id",
        "reseller_id",
        "customer_id",
        "operation_id",
        "email",
        "open_key",
        "state",
        "created_at",
        "expires_at",
        "ended_at",
        "latest_operation_id",
        "resent_at",
    )
]


# Whether a reseller is not active; see `access.reseller_state`.
IS_HELD = or_(resellers.c.suspended_at.is_not(None), resellers.c.removed_at.is_not(None))


def microseconds(at: datetime) -> int:
    """Returns an aware time as the database keeps it."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def time(at: int) -> datetime:
    """Returns what `microseconds` was given, in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def operation(row: tuple[Any, ...]) -> Operation:
    """Returns the operation in a row of OPERATION_COLUMNS; further columns are ignored."""
    id_, kind, reseller, customer, account, creator, created, modified, done, failed, put_off = row[
        :11
    ]
    return Operation(
        id_,
        _KINDS[kind],
        reseller,
        customer,
        account,
        creator,
        time(created),
        time(modified),
        bool(done),
        failure(failed) if failed else None,
        deferral(put_off) if put_off else None,
    )


def operation_row(
    value: Operation, invitation_id: str | None = None, due_at: int | None = None
) -> tuple[Any, ...]:
    """Returns a row for INSERT_OPERATIONS; `due_at` is when a worker may take it up."""
    created = microseconds(value.created_at)
    return (
        value.id,
        str(value.kind),
        value.reseller_id,
        value.customer_id,
        value.billing_account_id,
        value.created_by,
        created,
        created,
        int(value.done),
        0,
        invitation_id,
        due_at,
        0,
        0,
        0,
    )


def customer(row: tuple[Any, ...]) -> Customer:
    """Returns the customer in a row of CUSTOMER_COLUMNS."""
    id_, reseller, account, name, person, email, state, created, modified = row
    return Customer(
        id_,
        reseller,
        account,
        name,
        json.loads(person),
        email,
        CustomerState(state),
        time(created),
        time(modified),
    )


def customer_row(value: Customer) -> tuple[Any, ...]:
    """Returns a row for INSERT_CUSTOMERS."""
    created = microseconds(value.created_at)
    return (
        value.id,
        value.reseller_id,
        value.billing_account_id,
        value.name,
        person_text(value.person),
        str(value.state),
        created,
        created,
        value.email,
    )


def invitation(row: tuple[Any, ...]) -> Invitation:
    """Returns the invitation in a row of INVITATION_COLUMNS."""
    id_, reseller, customer_id, operation_id, email, key, state, *times, latest, resent = row
    created, expires, ended = times
    return Invitation(
        id_,
        reseller,
        customer_id,
        operation_id,
        email,
        None if key is None else bytes(key),
        InvitationState(state),
        time(created),
        time(expires),
        None if ended is None else time(ended),
        latest,
        None if resent is None else time(resent),
    )


def invitation_row(value: Invitation, address_key: str) -> tuple[Any, ...]:
    """Returns a row for INSERT_INVITATIONS."""
    return (
        value.id,
        value.reseller_id,
        value.customer_id,
        value.operation_id,
        value.email,
        value.open_key,
        str(value.state),
        microseconds(value.created_at),
        microseconds(value.expires_at),
        value.latest_operation_id,
        address_key,
    )


def failure(text: str) -> Failure:
    """Returns what `failure_text` was given."""
    reason, message, metadata = json.loads(text)
    return Failure(Reason(reason), message, metadata)


def failure_text(value: Failure) -> str:
    """Returns a failure as the database keeps it: a JSON array."""
    return _as_json([value.reason, value.message, value.metadata])


def deferral(text: str) -> Deferral:
    """Returns what `deferral_text` was given."""
    attempt, problem, next_attempt_at = json.loads(text)
    return Deferral(attempt, problem, time(next_attempt_at))


def deferral_text(value: Deferral) -> str:
    """Returns a deferral as the database keeps it: a JSON array."""
    return _as_json([value.attempt, value.problem, microseconds(value.next_attempt_at)])


def person_text(person: dict[str, str]) -> str:
    """Returns a customer's person as the database keeps it: a JSON object."""
    return _as_json(person)
