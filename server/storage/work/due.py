"""Rows of any table that hold due work: claimed under a lease, fenced by attempts, put off.

Such a table has the columns `n`, `due_at`, `claimed`, `attempts` and `deferral`. `due_at` is when a
worker may next take a row up: at once for new work, later after a failed try, and at the end of the
lease while a worker has it (`claimed`); NULL once there is nothing to do. `attempts` counts claims: a
worker that was overtaken by a later claim finds another number there and changes nothing. `deferral`
tells of the last try that failed; new rows have none, and an index of their own, so that neither kind
waits behind the other.

A new kind of work is one table with these columns, a `DueWork` for it with the row type that its
worker needs, and a handler in the worker.
"""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Table,
    bindparam,
    func,
    select,
    union_all,
    update,
)

from server.storage.sql.statements import IDS, Query, Statement, Transaction
from server.storage.sql.times import Micros


class Claim(NamedTuple):
    """How much to claim and until when; what is due after `latest_due` was dated by a wrong clock.

    `retries_first` prefers what is tried again to what is new.
    """

    limit: int
    now: Micros
    lease_until: Micros
    latest_due: Micros
    retries_first: bool


class _Attempted(Protocol):
    """A row of due work."""

    @property
    def done(self) -> bool: ...
    @property
    def attempts(self) -> int: ...


class _NextDue(NamedTuple):
    at: Micros | None


RowT = TypeVar("RowT", bound=tuple[Any, ...])


class DueWork(Generic[RowT]):
    """The due work of one table; `rows` selects what a worker needs of it, by joins as it likes."""

    def __init__(self, table: Table, row: type[RowT], rows: Select[Any]) -> None:
        due_at, deferral = table.c.due_at, table.c.deferral
        kinds = (deferral.is_(None), deferral.is_not(None))
        at: BindParameter[int] = bindparam("at", type_=due_at.type)

        def found(condition: ColumnElement[bool]) -> Query[RowT]:
            # SKIP LOCKED says nothing to SQLite, which has one writer at a time.
            ordered = rows.where(condition).order_by(due_at).limit(bindparam("limit"))
            return Query(row, ordered.with_for_update(of=table, skip_locked=True), "at", "limit")

        self._new, self._again = (found(kind & (due_at <= at)) for kind in kinds)
        self._misdated = [found(kind & (due_at > at)) for kind in kinds]
        self._lease = Statement(
            update(table)
            .where(table.c.n.in_(IDS))
            .values(attempts=table.c.attempts + 1, claimed=True, due_at=bindparam("until")),
            "until",
        )
        put_off = (
            update(table)
            .where(table.c.n.in_(IDS))
            .values(claimed=False, due_at=bindparam("due_at"))
        )
        self._put_off = Statement(put_off, "due_at")
        self._next_due = Query(
            _NextDue,
            union_all(
                *(select(func.min(due_at)).where(due_at.is_not(None), kind) for kind in kinds)
            ),
        )

    def find(self, transaction: Transaction, claim: Claim) -> list[RowT]:
        """Returns rows that are due, of one kind before the other, the longest due first.

        What was misdated comes if nothing else does. Others can't take the rows meanwhile.
        """
        rows: list[RowT] = []
        kinds = (self._again, self._new) if claim.retries_first else (self._new, self._again)
        for query in kinds:
            if len(rows) < claim.limit:
                rows += transaction.fetch(query, at=claim.now, limit=claim.limit - len(rows))
        if not rows:
            for query in self._misdated:
                limit = claim.limit - len(rows)
                rows += transaction.fetch(query, at=claim.latest_due, limit=limit)
        return rows

    def lease(self, transaction: Transaction, numbers: Sequence[int], until: Micros) -> None:
        """Claims rows that were found until a time; each counts an attempt."""
        if numbers:
            transaction.run(self._lease, numbers, until=until)

    def put_off(self, transaction: Transaction, number: int, due_at: Micros) -> None:
        """Gives a claim up: the row is due again at a time."""
        transaction.run(self._put_off, [number], due_at=due_at)

    def next_due(self, transaction: Transaction) -> Micros | None:
        """Returns when the next row is due; None: there is none."""
        rows = transaction.fetch(self._next_due)
        return min((row.at for row in rows if row.at is not None), default=None)


def holds(row: _Attempted | None, attempt: int) -> bool:
    """Tells whether a claim still holds: its row is not done, and no later attempt was made."""
    return row is not None and not row.done and row.attempts == attempt
