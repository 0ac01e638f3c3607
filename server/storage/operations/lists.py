"""Lists of resellers' operations, newest first.

Of each reseller only as many numbers are read as the page may need of it, so that a page costs about
the same for a caller of one reseller and for one of hundreds.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import false, select, true, tuple_

from server.domain.filters import Filter, matches, required_value
from server.domain.operations import Operation
from server.storage.interface.paging import Cursor, Part
from server.storage.operations.read import BY_NUMBER
from server.storage.operations.rows import OperationPart, operation
from server.storage.resellers import reseller_numbers
from server.storage.schema.tables import OperationNumber, ResellerNumber, operations, resellers
from server.storage.sql.bounded_lists import Step, read_part
from server.storage.sql.paging import as_text, listed, past, rounded
from server.storage.sql.statements import IDS, Query, Transaction

# By how much more of a reseller's is read than before, where that was too little.
_DEEPER = 4


class OperationPage(NamedTuple):
    """A page to read: at most `limit` operations, past a cursor."""

    reseller_ids: list[str]
    filter_: Filter | None
    limit: int
    after: Cursor | None


class _Numbered(NamedTuple):
    reseller: ResellerNumber
    n: OperationNumber


@cache
def newest_of_each(done: bool, most: int, *, is_sqlite: bool, past_first: bool) -> Query[_Numbered]:
    """Makes what reads the numbers of so many newest operations of each reseller, from their index.

    PostgreSQL might read all operations by number, and leave out those of others; but not by
    conditions and an order that nothing but that index has.
    """
    each = operations.alias("each")
    state = true() if done else false()
    rows = select(each.c.n).where(~each.c.deleted).limit(as_text(most))
    if past_first:
        rows = rows.where(past(each.c.n))
    if is_sqlite:
        rows = rows.where(each.c.reseller == resellers.c.n, each.c.done == state)
        numbers = rows.order_by(each.c.n.desc()).correlate(resellers).scalar_subquery()
        found = operations
        joined = resellers.join(found, found.c.n.in_(numbers))
        return Query(
            _Numbered,
            select(resellers.c.n, found.c.n).select_from(joined).where(resellers.c.n.in_(IDS)),
            "after",
        )
    key, value = tuple_(each.c.reseller, each.c.done), tuple_(resellers.c.n, state)
    rows = rows.where(key >= value, key <= value)
    order = (each.c.reseller.desc(), each.c.done.desc(), each.c.n.desc())
    newest = rows.order_by(*order).correlate(resellers).lateral("newest")
    return Query(
        _Numbered,
        select(resellers.c.n, newest.c.n)
        .select_from(resellers.join(newest, true()))
        .where(resellers.c.n.in_(IDS)),
        "after",
    )


def list_operations(
    transaction: Transaction, pages: Sequence[OperationPage]
) -> list[Part[Operation]]:
    """Returns a page for each; see OperationStorage.list_operations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: OperationPage) -> Part[Operation]:
    """Reads what an index has, by `done`; the rest of the filter is tried on what is found."""
    condition = page.filter_
    done = required_value(condition, "done", bool)
    of = reseller_numbers(transaction, page.reseller_ids)

    def read(limit: int, after: Cursor | None) -> Step[Operation]:
        rows = _read(transaction, of, done, limit, after)
        records = listed(rows, lambda row: operation(transaction, row))
        found = [
            each
            for each in records
            if condition is None or matches(condition, each.record.value_of)
        ]
        return Step(found, None if len(rows) < limit else records[-1].cursor)

    return read_part(page.limit, page.after, read)


def _read(
    transaction: Transaction,
    of: Sequence[ResellerNumber],
    done: bool | None,
    limit: int,
    after: Cursor | None,
) -> list[OperationPart]:
    """Returns the newest rows of all the resellers, past a number."""
    numbers = _newest_numbers(transaction, of, done, limit, after)
    rows = transaction.fetch(BY_NUMBER, numbers) if numbers else []
    return sorted(rows, key=lambda row: row.n, reverse=True)


def _newest_numbers(
    transaction: Transaction,
    of: Sequence[ResellerNumber],
    done: bool | None,
    limit: int,
    after: Cursor | None,
) -> list[OperationNumber]:
    """Returns the greatest numbers of the resellers' operations, so many at most.

    They are first read to the same depth of each reseller; then, of those alone that may have more
    among the greatest, ever deeper.
    """
    # In this order what ends meanwhile is found by both statements; in the other, by neither.
    states = [state for state in (False, True) if done in (None, state)]
    found: set[OperationNumber] = set()
    some, depth = list(of), rounded(-(-limit // max(len(of), 1)))
    greatest: list[OperationNumber] = []
    while some:
        numbers: dict[tuple[bool, ResellerNumber], list[OperationNumber]] = defaultdict(list)
        for state in states:
            query = newest_of_each(
                *(state, depth), is_sqlite=transaction.is_sqlite, past_first=after is not None
            )
            for row in transaction.fetch(query, some, after=after):
                numbers[state, row.reseller].append(row.n)
        found.update(*numbers.values())
        greatest = sorted(found, reverse=True)[:limit]
        last = greatest[-1] if len(greatest) == limit else 0
        some = list(
            {
                reseller
                for (_, reseller), read in numbers.items()
                if len(read) == depth and min(read) > last
            }
        )
        depth *= _DEEPER
    return greatest
