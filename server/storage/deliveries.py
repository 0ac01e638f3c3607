"""E-mails to send: claimed by workers, and what became of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, case, exists, func, select, update

from server.domain.invitations import (
    InvitationState,
    link_token_hash,
    new_link_token,
    state_at,
    unsent,
)
from server.domain.operations import CANCELLED, Failure
from server.storage.endings import Locked, end, lock
from server.storage.interface import Delivery
from server.storage.rows import IS_HELD, time
from server.storage.schema import customers, invitations, link_tokens, resellers
from server.storage.schema import operations as table
from server.storage.statements import IDS, Insert, Statement, Transaction


def _found_by(condition: ColumnElement[bool]) -> Statement:
    """Returns what finds e-mails to claim, those that have been due for longest first."""
    return Statement(
        select(
            table.c.id,
            table.c.attempts,
            table.c.cancel_requested,
            invitations.c.id,
            invitations.c.email,
            customers.c.name,
            resellers.c.name,
            invitations.c.expires_at,
            invitations.c.operation_id,
            invitations.c.state,
            table.c.reseller_id,
            IS_HELD,
        )
        .join_from(table, invitations, invitations.c.id == table.c.invitation_id)
        .join(customers, customers.c.id == table.c.customer_id)
        .join(resellers, resellers.c.id == table.c.reseller_id)
        .where(condition)
        .order_by(table.c.due_at)
        .limit(bindparam("limit"))
        # Says nothing to SQLite, which has one writer at a time.
        .with_for_update(of=table, skip_locked=True),
        "at",
        "limit",
    )


_DUE = _found_by(table.c.due_at <= bindparam("at", type_=table.c.due_at.type))
# Due at a time that nobody means: a clock was wrong then, or is now.
_FAR = _found_by(table.c.due_at > bindparam("at", type_=table.c.due_at.type))
_CLAIM = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(attempts=table.c.attempts + 1, claimed=True, due_at=bindparam("lease_until")),
    "lease_until",
)
_INSERT_LINKS = Insert(link_tokens)
# What has been revoked meanwhile is due at once, to be ended by whoever claims it.
_RETRY = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(
        claimed=False,
        due_at=case(
            (
                exists().where(
                    invitations.c.id == table.c.invitation_id,
                    invitations.c.state != InvitationState.PENDING,
                ),
                bindparam("at", type_=table.c.due_at.type),
            ),
            else_=bindparam("retry_at", type_=table.c.due_at.type),
        ),
    ),
    "at",
    "retry_at",
)
# Who suspends or resumes one has its row locked before its operations, so whoever waits for that
# here sees what came of it.
_STILL_HELD = Statement(
    select(resellers.c.id)
    .where(resellers.c.id.in_(IDS), IS_HELD)
    .order_by(resellers.c.id)
    .with_for_update(read=True)
)
_HOLD = Statement(update(table).where(table.c.id.in_(IDS)).values(due_at=None, claimed=False))
# What another transaction holds is left to the claim that comes next. Nobody is waited for with a
# reseller's row locked.
_HOLD_ALL = Statement(
    update(table)
    .where(
        table.c.id.in_(
            select(table.c.id)
            .where(
                table.c.reseller_id.in_(IDS),
                ~table.c.done,
                ~table.c.claimed,
                table.c.due_at.is_not(None),
            )
            .with_for_update(skip_locked=True)
        )
    )
    .values(due_at=None)
)
_RELEASE_ALL = Statement(
    update(table)
    .where(table.c.reseller_id.in_(IDS), ~table.c.done, table.c.due_at.is_(None))
    .values(due_at=bindparam("now")),
    "now",
)
_NEXT_DUE = Statement(select(func.min(table.c.due_at)).where(table.c.due_at.is_not(None)))


class Claim(NamedTuple):
    """How much to claim, until when, and from when on a due time is nobody's intention."""

    limit: int
    now: int
    lease_until: int
    far: int


class Finish(NamedTuple):
    """A claim's end: success, failure, or (with neither) giving it up until `retry_at`."""

    operation_id: str
    attempt: int
    now: int
    failure: Failure | None = None
    retry_at: int | None = None


def hold(transaction: Transaction, reseller_id: str) -> None:
    """Has no e-mail of the reseller, whose row is locked, sent from now on."""
    transaction.run(_HOLD_ALL, [reseller_id])


def release(transaction: Transaction, reseller_id: str, now: int) -> None:
    """Makes due what was held of the reseller, whose row is locked."""
    transaction.run(_RELEASE_ALL, [reseller_id], now=now)
    transaction.work = True


def claim(transaction: Transaction, batch: Sequence[Claim]) -> list[list[Delivery]]:
    """Claims for several workers; see Storage.claim_deliveries."""
    return [_claim(transaction, wanted) for wanted in batch]


def _claim(transaction: Transaction, wanted: Claim) -> list[Delivery]:
    rows = transaction.fetch(_DUE, at=wanted.now, limit=wanted.limit)
    if len(rows) < wanted.limit:
        rows += transaction.fetch(_FAR, at=wanted.far, limit=wanted.limit - len(rows))
    unwanted = {row[0]: failure for row in rows if (failure := _unwanted(row, wanted.now))}
    locked = lock(transaction, list(unwanted))
    end(transaction, [(row, unwanted[id_], wanted.now) for id_, row in locked.items()])
    held = {row[0]: row[-2] for row in rows if row[-1] and row[0] not in unwanted}
    _hold(transaction, held)
    deliveries = [
        Delivery(
            operation_id=operation_id,
            attempt=attempts + 1,
            lease_until=time(wanted.lease_until),
            cancel_requested=False,
            invitation_id=invitation_id,
            email=email,
            customer_name=customer_name,
            reseller_name=reseller_name,
            expires_at=time(expires_at),
            link_token=new_link_token(),
            first_operation_id=first_operation_id,
        )
        for (
            operation_id,
            attempts,
            _,
            invitation_id,
            email,
            customer_name,
            reseller_name,
            expires_at,
            first_operation_id,
            *_,
        ) in rows
        if operation_id not in unwanted and operation_id not in held
    ]
    if deliveries:
        transaction.run(
            _CLAIM,
            [delivery.operation_id for delivery in deliveries],
            lease_until=wanted.lease_until,
        )
        transaction.insert(
            _INSERT_LINKS,
            [
                (
                    link_token_hash(delivery.link_token),
                    delivery.invitation_id,
                    wanted.now,
                    delivery.operation_id,
                )
                for delivery in deliveries
            ],
        )
    return deliveries


def _hold(transaction: Transaction, held: dict[str, str]) -> None:
    """Holds operations, given with their resellers, unless those have been resumed just now."""
    if not held:
        return
    still_held = {id_ for (id_,) in transaction.fetch(_STILL_HELD, list(set(held.values())))}
    ids = [id_ for id_, reseller_id in held.items() if reseller_id in still_held]
    if ids:
        transaction.run(_HOLD, ids)


def _unwanted(row: tuple[Any, ...], now: int) -> Failure | None:
    """Returns why an e-mail is not to be sent any more, None if it is."""
    _, _, cancel_requested, *_, expires_at, _, recorded, _, _ = row
    state = state_at(InvitationState(recorded), time(expires_at), time(now))
    if state is not InvitationState.PENDING:
        return unsent(state)
    return CANCELLED if cancel_requested else None


def finish(transaction: Transaction, batch: Sequence[Finish]) -> list[bool]:
    """Records what became of claims; False for those that a later attempt has overtaken."""
    rows = lock(transaction, [finished.operation_id for finished in batch])
    outcomes = []
    endings: list[tuple[Locked, Failure | None, int]] = []
    for finished in batch:
        row = rows.get(finished.operation_id)
        holds = row is not None and not row.operation.done and row.attempts == finished.attempt
        outcomes.append(holds)
        if row is None or not holds:
            continue
        del rows[finished.operation_id]  # what comes next for the same claim is late
        unsent = finished.failure or finished.retry_at is not None
        if unsent and row.cancel_requested:
            endings.append((row, CANCELLED, finished.now))
        elif finished.retry_at is not None:
            transaction.run(
                _RETRY, [finished.operation_id], at=finished.now, retry_at=finished.retry_at
            )
            transaction.work = True
        else:
            endings.append((row, finished.failure, finished.now))
    end(transaction, endings)
    return outcomes


def next_due(transaction: Transaction, batch: Sequence[None]) -> list[int | None]:
    """Returns when the next e-mail is due, for each who asks; None: there is none."""
    ((at,),) = transaction.fetch(_NEXT_DUE)
    return [at] * len(batch)
