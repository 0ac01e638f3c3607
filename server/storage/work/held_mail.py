"""E-mails of resellers that are suspended or removed: held, and due again once they are resumed."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import bindparam, false, select, update

from server.storage.resellers import IS_HELD
from server.storage.schema.tables import OperationNumber, ResellerNumber, operations, resellers
from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros


class _Reseller(NamedTuple):
    n: ResellerNumber


# Who suspends or resumes one has its row locked before its operations, so whoever waits for that
# here sees what came of it.
_STILL_HELD = Query(
    _Reseller,
    select(resellers.c.n)
    .where(resellers.c.n.in_(IDS), IS_HELD)
    .order_by(resellers.c.n)
    .with_for_update(read=True),
)
_HOLD = Statement(
    update(operations).where(operations.c.n.in_(IDS)).values(due_at=None, claimed=False)
)
# What another transaction holds is left to the claim that comes next. Nobody is waited for with a
# reseller's row locked.
_HOLD_ALL = Statement(
    update(operations)
    .where(
        operations.c.n.in_(
            select(operations.c.n)
            .where(
                operations.c.reseller.in_(IDS),
                operations.c.done == false(),
                ~operations.c.deleted,
                ~operations.c.claimed,
                operations.c.due_at.is_not(None),
            )
            .with_for_update(skip_locked=True)
        )
    )
    .values(due_at=None)
)
_RELEASE_ALL = Statement(
    update(operations)
    .where(
        operations.c.reseller.in_(IDS),
        operations.c.done == false(),
        ~operations.c.deleted,
        operations.c.due_at.is_(None),
    )
    .values(due_at=bindparam("now")),
    "now",
)


def hold_mail(transaction: Transaction, reseller: ResellerNumber) -> None:
    """Has no e-mail of the reseller, whose row is locked, sent from now on."""
    transaction.run(_HOLD_ALL, [reseller])


def release_mail(transaction: Transaction, reseller: ResellerNumber, now: Micros) -> None:
    """Makes due what was held of the reseller, whose row is locked."""
    transaction.run(_RELEASE_ALL, [reseller], now=now)
    transaction.has_work = True


def hold_found(transaction: Transaction, found: Mapping[OperationNumber, ResellerNumber]) -> None:
    """Holds e-mails that a claim came upon, unless their resellers have been resumed just now."""
    still_held = transaction.fetch(_STILL_HELD, list(set(found.values())))
    numbers = {reseller.n for reseller in still_held}
    held = [number for number, reseller in found.items() if reseller in numbers]
    if held:
        transaction.run(_HOLD, held)
