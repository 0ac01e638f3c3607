"""Invitations that end by time, and what becomes of the customers of all that end."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import and_, bindparam, case, select, update

from server.domain.customers import CustomerState
from server.domain.invitations import CUSTOMER_STATES, InvitationState
from server.storage.schema import customers
from server.storage.schema import invitations as table
from server.storage.statements import IDS, Statement, Transaction

_CHANGE_CUSTOMERS = Statement(
    update(customers)
    .where(customers.c.id.in_(IDS), customers.c.state == CustomerState.ACCEPTANCE_REQUIRED.value)
    .values(
        state=bindparam("state"),
        # Clocks differ.
        modified_at=case(
            (customers.c.modified_at > bindparam("at"), customers.c.modified_at),
            else_=bindparam("at"),
        ),
    ),
    "state",
    "at",
)
_has_lapsed = and_(table.c.open_key.is_not(None), table.c.expires_at <= bindparam("now"))
_LAPSED = Statement(
    select(table.c.id)
    .where(_has_lapsed)
    .order_by(table.c.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True),
    "now",
    "limit",
)
_EXPIRE = Statement(
    update(table)
    .where(table.c.id.in_(IDS), _has_lapsed)
    .values(state=InvitationState.EXPIRED.value, ended_at=table.c.expires_at, open_key=None)
    .returning(table.c.customer_id),
    "now",
)


class Expiry(NamedTuple):
    """How much to expire at once."""

    now: int
    limit: int


def expire(transaction: Transaction, batch: Sequence[Expiry]) -> list[int]:
    """Expires what has lapsed; see Storage.expire_invitations."""
    return [
        expire_by_id(
            transaction,
            [id_ for (id_,) in transaction.fetch(_LAPSED, now=each.now, limit=each.limit)],
            each.now,
        )
        for each in batch
    ]


def expire_by_id(transaction: Transaction, ids: Sequence[str], now: int) -> int:
    """Records the expiry of those that have lapsed and are still pending; returns of how many."""
    if not ids:
        return 0
    customer_ids = [id_ for (id_,) in transaction.fetch(_EXPIRE, ids, now=now)]
    if customer_ids:
        change_customers(transaction, customer_ids, InvitationState.EXPIRED, now)
    return len(customer_ids)


def change_customers(
    transaction: Transaction, ids: Sequence[str], state: InvitationState, at: int
) -> None:
    """Gives customers the state that goes with that of their invitations."""
    transaction.run(_CHANGE_CUSTOMERS, ids, state=CUSTOMER_STATES[state], at=at)
