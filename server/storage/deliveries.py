"""E-mails to send: claimed by workers, and what became of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    bindparam,
    case,
    delete,
    exists,
    func,
    select,
    update,
)

from server.domain.invitations import (
    InvitationState,
    link_token_hash,
    new_link_token,
    state_at,
    unsent,
)
from server.domain.operations import CANCELLED, Deferral, Failure
from server.storage.endings import Locked, end, lock
from server.storage.interface import Delivery
from server.storage.rows import IS_HELD, deferral_text, time
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
            resellers.c.contact,
            invitations.c.expires_at,
            invitations.c.operation_id,
            table.c.created_at,
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


_AT: BindParameter[Any] = bindparam("at", type_=table.c.due_at.type)
# Each by an index of its own, so that neither looks through what the other is for.
_KINDS = {"new": table.c.deferral.is_(None), "tried again": table.c.deferral.is_not(None)}
_NEW, _AGAIN = (_found_by(kind & (table.c.due_at <= _AT)) for kind in _KINDS.values())
# Due at a time that nobody means: a clock was wrong then, or is now.
_FAR = [_found_by(kind & (table.c.due_at > _AT)) for kind in _KINDS.values()]
_CLAIM = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(attempts=table.c.attempts + 1, claimed=True, due_at=bindparam("lease_until")),
    "lease_until",
)
_INSERT_LINKS = Insert(link_tokens)
_DROP_LINKS = Statement(delete(link_tokens).where(link_tokens.c.token_hash.in_(IDS)))
# What has been revoked meanwhile is due at once, to be ended by whoever claims it.
_DUE_AGAIN = case(
    (
        exists().where(
            invitations.c.id == table.c.invitation_id,
            invitations.c.state != InvitationState.PENDING,
        ),
        _AT,
    ),
    else_=bindparam("retry_at", type_=table.c.due_at.type),
)
_GIVE_BACK = Statement(
    update(table).where(table.c.id.in_(IDS)).values(claimed=False, due_at=_DUE_AGAIN),
    "at",
    "retry_at",
)
_DEFER = Statement(
    update(table)
    .where(table.c.id.in_(IDS))
    .values(
        claimed=False,
        due_at=_DUE_AGAIN,
        deferral=bindparam("deferral"),
        # Clocks differ.
        modified_at=case((table.c.modified_at > _AT, table.c.modified_at), else_=_AT),
    ),
    "at",
    "retry_at",
    "deferral",
)
_NEXT_DUE = Statement(
    select(
        *(
            select(func.min(table.c.due_at))
            .where(table.c.due_at.is_not(None), kind)
            .scalar_subquery()
            for kind in _KINDS.values()
        )
    )
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


class Claim(NamedTuple):
    """How much to claim, until when, and from when on a due time is nobody's intention.

    `retries_first` prefers what is tried again to what is new.
    """

    limit: int
    now: int
    lease_until: int
    far: int
    retries_first: bool


class Finish(NamedTuple):
    """A claim's end: success, failure, or (with neither) giving it up until `retry_at`.

    `deferral` tells of the attempt that failed, if there was one, and `dropped_link` is the link in
    its e-mail where nothing of that has left.
    """

    operation_id: str
    attempt: int
    now: int
    failure: Failure | None = None
    retry_at: int | None = None
    deferral: Deferral | None = None
    dropped_link: bytes | None = None


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
    rows = _due(transaction, wanted)
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
            requested_at=time(requested_at),
            reseller_contact=contact,
        )
        for (
            operation_id,
            attempts,
            _,
            invitation_id,
            email,
            customer_name,
            reseller_name,
            contact,
            expires_at,
            first_operation_id,
            requested_at,
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


def _due(transaction: Transaction, wanted: Claim) -> list[tuple[Any, ...]]:
    """Returns what is due, of one kind before the other; what was misdated if nothing else is."""
    rows: list[tuple[Any, ...]] = []
    for statement in (_AGAIN, _NEW) if wanted.retries_first else (_NEW, _AGAIN):
        if len(rows) < wanted.limit:
            rows += transaction.fetch(statement, at=wanted.now, limit=wanted.limit - len(rows))
    if not rows:
        for statement in _FAR:
            rows += transaction.fetch(statement, at=wanted.far, limit=wanted.limit - len(rows))
    return rows


def _unwanted(row: tuple[Any, ...], now: int) -> Failure | None:
    """Returns why an e-mail is not to be sent any more, None if it is."""
    _, _, cancel_requested, *_, expires_at, _, _, recorded, _, _ = row
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
            _retry(transaction, finished)
        else:
            endings.append((row, finished.failure, finished.now))
    end(transaction, endings)
    return outcomes


def _retry(transaction: Transaction, finished: Finish) -> None:
    """Gives a claim up until it is due again."""
    values: dict[str, Any] = {"at": finished.now, "retry_at": finished.retry_at}
    statement = _GIVE_BACK
    if finished.deferral:
        statement, values["deferral"] = _DEFER, deferral_text(finished.deferral)
    transaction.run(statement, [finished.operation_id], **values)
    if finished.dropped_link:
        transaction.run(_DROP_LINKS, [finished.dropped_link])
    transaction.work = True


def next_due(transaction: Transaction, batch: Sequence[None]) -> list[int | None]:
    """Returns when the next e-mail is due, for each who asks; None: there is none."""
    (times,) = transaction.fetch(_NEXT_DUE)
    return [min((at for at in times if at is not None), default=None)] * len(batch)
