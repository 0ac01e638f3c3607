"""Giving and taking roles, from the command line and by callers, each with its event and audit record.

Locks are taken in one order: idempotency keys, resellers, service accounts.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, delete, select

from server.domain.access import (
    RESERVED_SUBJECTS,
    Actor,
    ResellerState,
    Role,
    is_operator,
    operator,
    reseller_held,
)
from server.domain.errors import BillingError, Reason
from server.domain.events import EventType
from server.domain.operations import Operation
from server.domain.role_changes import HeldRole, RoleDelta, decide
from server.storage import numbers
from server.storage.access.audit import record_changes
from server.storage.events.log import NewEvent, log
from server.storage.events.rows import role_json
from server.storage.keys import KeyedRequest, answer_each
from server.storage.operations.create import NewOperations
from server.storage.operations.rows import INSERT_OTHERS
from server.storage.resellers import require_reseller, reseller_state
from server.storage.schema.access_tables import (
    RoleBindingRow,
    ServiceAccountRow,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import (
    NO_CUSTOMER,
    DisplayName,
    ResellerId,
    ResellerNumber,
    RoleNumber,
    SubjectId,
    resellers,
)
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, micros
from server.storage.sql.transactions import one_by_one


class _Reseller(NamedTuple):
    n: ResellerNumber
    id: ResellerId
    suspended_at: Micros | None
    removed_at: Micros | None


class _Account(NamedTuple):
    id: SubjectId


class _Held(NamedTuple):
    reseller_id: ResellerId
    subject_id: SubjectId
    role: str
    created_at: Micros


_LOCK_RESELLERS = Query(
    _Reseller,
    select(*columns(resellers, _Reseller))
    .where(resellers.c.id.in_(IDS))
    .order_by(resellers.c.n)  # in one order, so that two batches don't wait for each other
    .with_for_update(),
)
_LOCK_ACCOUNTS = Query(
    _Account,
    select(service_accounts.c.id)
    .where(service_accounts.c.id.in_(IDS))
    .order_by(service_accounts.c.id)  # likewise
    .with_for_update(),
)
_FOR_RESELLERS = Query(
    _Held, select(*columns(role_bindings, _Held)).where(role_bindings.c.reseller_id.in_(IDS))
)
_ROLE = and_(
    role_bindings.c.subject_id.in_(IDS),
    role_bindings.c.reseller_id == bindparam("reseller_id"),
    role_bindings.c.role == bindparam("role"),
)


def _taking(condition: ColumnElement[bool], *names: str) -> Query[_Held]:
    """Makes the statement that takes roles and returns those that were held; run again, none."""
    taken = delete(role_bindings).where(condition)
    return Query(_Held, taken.returning(*columns(role_bindings, _Held)), *names)


_TAKE = _taking(_ROLE, "reseller_id", "role")
_TAKE_OF_SUBJECT = _taking(role_bindings.c.subject_id.in_(IDS))
_TAKE_FOR_RESELLER = _taking(role_bindings.c.reseller_id.in_(IDS))
_INSERT = Insert(role_bindings, RoleBindingRow)
_INSERT_ACCOUNTS = Insert(service_accounts, ServiceAccountRow)
_DELETE_ACCOUNTS = Statement(delete(service_accounts).where(service_accounts.c.id.in_(IDS)))


class RoleChange(NamedTuple):
    """A role to give or to take."""

    subject_id: str
    reseller_id: str
    role: Role
    now: Micros
    by: str


class BindingUpdate(NamedTuple):
    """What an operation on a reseller's roles does, for whom, and the key that came with it."""

    operation: Operation
    deltas: Sequence[RoleDelta]
    actor: Actor
    use: KeyedRequest | None


@one_by_one
def grant_role(transaction: Transaction, change: RoleChange) -> bool:
    """Gives a role, tells if it is new; refuses an unknown reseller with NOT_FOUND."""
    subject_id, reseller_id, role, now, by = change
    require_free(subject_id)
    found = transaction.fetch(_LOCK_RESELLERS, [reseller_id])
    if not found or found[0].removed_at is not None:
        raise BillingError(Reason.NOT_FOUND, f"No reseller {reseller_id}; see `resellers list`.")
    held = HeldRole(subject_id, role)
    if held in _roles_for(transaction, [reseller_id])[reseller_id]:
        return False
    if not transaction.fetch(_LOCK_ACCOUNTS, [subject_id]):
        _keep_from_accounts(transaction, [subject_id], now)
    _give(transaction, found[0], [held], now, operator(by), by)
    return True


@one_by_one
def revoke_role(transaction: Transaction, change: RoleChange) -> bool:
    """Takes a role, tells if it was held."""
    subject_id, reseller_id, role, now, by = change
    taken = transaction.fetch(_TAKE, [subject_id], reseller_id=reseller_id, role=role.value)
    _log_revoked(transaction, taken, now, operator(by))
    _audit(
        transaction, now, by, "roles.revoke", [HeldRole(subject_id, role)] * len(taken), reseller_id
    )
    return bool(taken)


def take_roles_of(transaction: Transaction, subject_id: str, now: Micros, by: str) -> None:
    """Takes all roles of a subject."""
    taken = transaction.fetch(_TAKE_OF_SUBJECT, [subject_id])
    _log_revoked(transaction, taken, now, operator(by))


def take_roles_for(transaction: Transaction, reseller_id: str, now: Micros, by: str) -> None:
    """Takes all roles for a reseller."""
    taken = transaction.fetch(_TAKE_FOR_RESELLER, [reseller_id])
    _log_revoked(transaction, taken, now, operator(by))


def update_bindings(
    transaction: Transaction, batch: Sequence[BindingUpdate]
) -> list[Operation | Exception]:
    """Gives and takes roles; see AccessStorage.update_bindings."""
    made = NewOperations(transaction, [request.use for request in batch])
    drawn = iter(numbers.draw_numbers(transaction, len(batch)))
    reseller_ids = sorted({request.operation.reseller_id for request in batch})
    locked = {row.id: row for row in transaction.fetch(_LOCK_RESELLERS, reseller_ids)}
    subjects = sorted({each.held.subject_id for request in batch for each in request.deltas})
    accounts: set[str] = {row.id for row in transaction.fetch(_LOCK_ACCOUNTS, subjects)}
    roles = _roles_for(transaction, reseller_ids)
    given = {each.held.subject_id for request in batch for each in request.deltas if each.give}
    outside = sorted(given - accounts)
    _keep_from_accounts(transaction, outside, micros(batch[0].operation.created_at))

    def update(request: BindingUpdate) -> Operation:
        operation, deltas, actor, use = request
        now, reseller_id = micros(operation.created_at), operation.reseller_id
        reseller = locked[ResellerId(reseller_id)]
        state = reseller_state(reseller.suspended_at, reseller.removed_at)
        if state is not ResellerState.ACTIVE:
            raise reseller_held(reseller_id, state)
        changes = decide(roles[reseller_id], deltas, actor.subject, accounts)
        _take(transaction, reseller_id, changes.revoked, now, actor, operation.id)
        _give(
            *(transaction, reseller, changes.granted, now, actor, actor.subject),
            operation_id=operation.id,
        )
        roles[reseller_id] = roles[reseller_id].difference(changes.revoked).union(changes.granted)
        made.add(operation, next(drawn), reseller.n, NO_CUSTOMER, use, with_id=True)
        return operation

    outcomes = answer_each(batch, made.keys, made.existing, update)
    transaction.insert(INSERT_OTHERS, made.rows)
    return outcomes


def _roles_for(
    transaction: Transaction, reseller_ids: Sequence[str]
) -> dict[str, frozenset[HeldRole]]:
    """Returns who has which role for resellers."""
    found: dict[str, set[HeldRole]] = {id_: set() for id_ in reseller_ids}
    for row in transaction.fetch(_FOR_RESELLERS, reseller_ids):
        found[row.reseller_id].add(HeldRole(row.subject_id, Role(row.role)))
    return {id_: frozenset(held) for id_, held in found.items()}


def _keep_from_accounts(transaction: Transaction, subject_ids: Sequence[str], now: Micros) -> None:
    """Keeps service accounts from being made with outside subjects' IDs, whose roles they would have.

    An account of the same ID waits for this transaction, and then finds the role.
    """
    if subject_ids:
        rows = [ServiceAccountRow(SubjectId(id_), DisplayName(""), now) for id_ in subject_ids]
        transaction.insert(_INSERT_ACCOUNTS, rows)
        transaction.run(_DELETE_ACCOUNTS, subject_ids)


def _give(
    transaction: Transaction,
    reseller: _Reseller,
    granted: Sequence[HeldRole],
    now: Micros,
    actor: Actor,
    by: str,
    operation_id: str | None = None,
) -> None:
    if not granted:
        return
    drawn = numbers.row_numbers(transaction, role_bindings, len(granted))
    rows = [
        RoleBindingRow(RoleNumber(n), SubjectId(subject_id), reseller.id, role.value, now)
        for n, (subject_id, role) in zip(drawn, granted, strict=True)
    ]
    transaction.insert(_INSERT, rows)
    for subject_id, role in granted:
        data = role_json(subject_id, role, now)
        event = reseller.n, EventType.ACCESS_GRANTED, now, actor, data
        log(transaction, NewEvent(*event, operation_id=operation_id))
    _audit(transaction, now, by, "roles.grant", granted, reseller.id)


def _take(
    transaction: Transaction,
    reseller_id: str,
    revoked: Sequence[HeldRole],
    now: Micros,
    actor: Actor,
    operation_id: str,
) -> None:
    subjects: dict[Role, list[str]] = {}
    for subject_id, role in revoked:
        subjects.setdefault(role, []).append(subject_id)
    taken: list[_Held] = []
    for role, subject_ids in subjects.items():
        taken += transaction.fetch(_TAKE, subject_ids, reseller_id=reseller_id, role=role.value)
    _log_revoked(transaction, taken, now, actor, operation_id)
    _audit(transaction, now, actor.subject, "roles.revoke", revoked, reseller_id)


def _log_revoked(
    transaction: Transaction,
    roles: Sequence[_Held],
    now: Micros,
    actor: Actor,
    operation_id: str | None = None,
) -> None:
    for reseller_id, subject_id, role, created_at in sorted(roles):
        reseller = require_reseller(transaction, reseller_id)
        data = role_json(subject_id, role, created_at)
        event = reseller, EventType.ACCESS_REVOKED, now, actor, data
        log(transaction, NewEvent(*event, operation_id=operation_id))


def _audit(
    transaction: Transaction,
    now: Micros,
    by: str,
    action: str,
    roles: Sequence[HeldRole],
    reseller_id: str,
) -> None:
    changed = [(subject_id, f"{role} for {reseller_id}") for subject_id, role in roles]
    record_changes(transaction, now, by, action, changed)


def require_free(subject_id: str) -> None:
    """Raises FIELDS_INVALID for the names that events give to operators and the service itself."""
    if subject_id in RESERVED_SUBJECTS or is_operator(subject_id):
        raise BillingError(
            Reason.FIELDS_INVALID,
            f"{subject_id} is what events call something else: choose another ID.",
        )
