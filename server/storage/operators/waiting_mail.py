"""E-mails that have not gone out: listing them, and having them tried now."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, bindparam, select, update

from server.domain import ids
from server.domain.access import AuditRecord
from server.storage.access.changes import record
from server.storage.interface.operators import WaitingMail
from server.storage.operations.rows import deferral
from server.storage.resellers import IS_HELD, reseller_id
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerId,
    DeferralJson,
    Email,
    InvitationId,
    OperationId,
    OperationNumber,
    ResellerNumber,
    customers,
    operations,
    resellers,
)
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros, from_micros, from_micros_or_none, micros
from server.storage.sql.transactions import one_by_one

_o, _c = operations.c, customers.c
# E-mails made due in one transaction, during which nobody else writes to SQLite.
MOST_AT_ONCE = 2000


class _Waiting(NamedTuple):
    n: OperationNumber
    id: OperationId | None
    customer_id: CustomerId
    made_by: OperationId | None
    invitation_id: InvitationId | None
    reseller: ResellerNumber
    email: Email
    created_at: Micros
    attempts: Count
    due_at: Micros | None
    claimed: bool
    deferral: DeferralJson | None


class _Number(NamedTuple):
    n: OperationNumber


_rows = (
    select(
        *(_o.n, _o.id, _c.id, _c.operation_id, _c.invitation_id, _o.reseller, _c.email),
        *(_o.created_at, _o.attempts, _o.due_at, _o.claimed, _o.deferral),
    )
    .join_from(operations, customers, _c.n == _o.customer)
    .where(~_o.done)
)


def _limited(rows: Select[tuple[object, ...]]) -> Query[_Waiting]:
    return Query(_Waiting, rows.limit(bindparam("limit")), "limit")


_is_due, _is_late = _o.due_at.is_not(None), _o.deferral.is_not(None)
_KINDS = (
    _limited(_rows.where(_is_due, _is_late).order_by(_o.due_at)),
    _limited(_rows.where(_is_due, ~_is_late).order_by(_o.due_at)),
    # Those of resellers that are held, of which there are few.
    _limited(
        _rows.join(resellers, resellers.c.n == _o.reseller)
        .where(IS_HELD, ~_o.deleted, ~_is_due)
        .order_by(_o.n)
    ),
)
_can_be_made_due = (_is_due, ~_o.claimed, _is_late, _o.due_at > bindparam("now"))
_DEFERRED = Query(
    _Number,
    select(_o.n)
    .where(*_can_be_made_due)
    .order_by(_o.due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    *("now", "limit"),
)
_NAMED = Query(
    _Number,
    select(_o.n)
    .join_from(operations, customers, _c.n == _o.customer)
    .where(
        *_can_be_made_due,
        _o.id.in_(IDS)
        | (_c.id.in_(IDS) & (_c.latest == _o.n))
        | (_c.invitation_id.in_(IDS) & (_c.latest == _o.n)),
    )
    .order_by(_o.n)
    .with_for_update(of=operations, skip_locked=True),
    "now",
)
_MAKE_DUE = Statement(
    update(operations).where(_o.n.in_(IDS)).values(due_at=bindparam("now")), "now"
)


@one_by_one
def list_waiting(transaction: Transaction, limit: int) -> Sequence[WaitingMail]:
    """Lists them; see OperatorStorage.list_waiting_mail."""
    rows: list[_Waiting] = []
    for kind in _KINDS:
        if len(rows) < limit:
            rows += transaction.fetch(kind, limit=limit - len(rows))
    return [_waiting(transaction, row) for row in rows]


def _waiting(transaction: Transaction, row: _Waiting) -> WaitingMail:
    tail = row.customer_id[3:]
    return WaitingMail(
        row.id or row.made_by or ids.OPERATION + tail,
        row.invitation_id or ids.INVITATION + tail,
        reseller_id(transaction, row.reseller),
        row.email.rpartition("@")[2],
        from_micros(row.created_at),
        row.attempts,
        from_micros_or_none(row.due_at),
        bool(row.claimed),
        deferral(row.deferral) if row.deferral else None,
    )


class Retry(NamedTuple):
    """Which e-mails to try now, by IDs of operations or invitations; none: the next `MOST_AT_ONCE`.

    `is_first`: the first batch of a request, which the audit records.
    """

    ids: Sequence[str]
    now: datetime
    by: str
    is_first: bool = True


@one_by_one
def retry(transaction: Transaction, wanted: Retry) -> int:
    """Makes e-mails due; see OperatorStorage.retry_mail."""
    now = micros(wanted.now)
    if wanted.ids:
        kinds = (ids.INVITATION, ids.OPERATION)
        named = [ids.CUSTOMER + id_[3:] for id_ in wanted.ids if id_.startswith(kinds)]
        rows = transaction.fetch(_NAMED, [*wanted.ids, *named], now=now)
    else:
        rows = transaction.fetch(_DEFERRED, now=now, limit=MOST_AT_ONCE)
    if rows:
        transaction.run(_MAKE_DUE, [row.n for row in rows], now=now)
        transaction.has_work = True
    if wanted.is_first:
        target = ", ".join(wanted.ids[:5]) or "all"
        count = "all" if len(rows) == MOST_AT_ONCE else str(len(rows))
        entry = AuditRecord(wanted.now, wanted.by, "mail.retry", target, f"e-mails: {count}")
        record(transaction, [entry])
    return len(rows)
