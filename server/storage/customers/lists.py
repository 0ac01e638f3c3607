"""Lists of a reseller's customers, in the order of their numbers.

What a filter asks for is looked up by an index where there is one: the external ID, the address, the
state. The rest of it is tried on what is found there, row by row, and on so many rows at most.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Select,
    bindparam,
    func,
    select,
    text,
    union_all,
)

from server.domain.customers import Customer, CustomerList, CustomerState
from server.domain.filters import matches, possible_values, required_value
from server.domain.invitations import CUSTOMER_STATES
from server.storage import resellers
from server.storage.customer_rows import CUSTOMER_PART, IS_LIVING, CustomerPart, customer
from server.storage.interface.paging import MAX_LIST_CHARACTERS, Cursor, Listed, Part
from server.storage.invitations.addresses import address_hash
from server.storage.schema.codes import (
    INVITATION_STATE_CODES,
    NO_INVITATION,
    SUSPENDED,
    InvitationStateCode,
)
from server.storage.schema.tables import (
    ResellerNumber,
    customers,
)
from server.storage.sql.bounded_lists import Step, read_part
from server.storage.sql.paging import Run, first, merged, past, rounded
from server.storage.sql.statements import PartQuery, Query, Transaction, columns

# As text, for the index of these alone.
_IS_SUSPENDED = customers.c.state == text(str(SUSPENDED))
_IN_USE = frozenset({CustomerState.ACTIVE, CustomerState.SUSPENDED})
# The states of customers by those of their invitations.
_STATES: dict[InvitationStateCode, frozenset[CustomerState]] = {
    NO_INVITATION: _IN_USE,
    **{
        INVITATION_STATE_CODES[invitation]: (
            _IN_USE if state is CustomerState.ACTIVE else frozenset({state})
        )
        for invitation, state in CUSTOMER_STATES.items()
    },
}


class CustomerPage(NamedTuple):
    """A page to read: at most `limit` customers, past a cursor."""

    wanted: CustomerList
    limit: int
    after: Cursor | None


class _PageRow(NamedTuple):
    """A customer, and how many rows were found with it."""

    customer: CustomerPart
    found: int


class _Source(NamedTuple):
    """Where to look: by a column's value, or in all that have one of these states."""

    states: frozenset[CustomerState]
    by: str | None = None
    oldest_first: bool = False


def list_customers(transaction: Transaction, pages: Sequence[CustomerPage]) -> list[Part[Customer]]:
    """Returns a page for each; see CustomerStorage.list_customers."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: CustomerPage) -> Part[Customer]:
    reseller = resellers.reseller_number(transaction, page.wanted.reseller_id)
    states = _states(page.wanted)
    if reseller is None or not states:
        return Part([], None)
    condition = page.wanted.filter_

    def read(limit: int, after: Cursor | None) -> Step[Customer]:
        rows = _read(transaction, page.wanted, states, reseller, limit, after)
        records = (customer(transaction, row.customer) for row in rows)
        found = [
            Listed(record, Cursor(row.customer.n))
            for row, record in zip(rows, records, strict=True)
            if condition is None or matches(condition, record.value_of)
        ]
        is_end = not rows or len(rows) == rows[0].found < limit
        return Step(
            found,
            None if is_end else Cursor(rows[-1].customer.n),
            is_cut=not is_end and len(rows) < rows[0].found,
        )

    return read_part(page.limit, page.after, read)


def _read(
    transaction: Transaction,
    wanted: CustomerList,
    states: frozenset[CustomerState],
    reseller: ResellerNumber,
    limit: int,
    after: Cursor | None,
) -> list[_PageRow]:
    external_id = required_value(wanted.filter_, "externalId", str)
    email = required_value(wanted.filter_, "email", str)
    by = "external_id" if external_id else "address_key" if email else None
    statement = _page(
        _Source(states, by, wanted.oldest_first),
        most=rounded(limit),
        is_sqlite=transaction.is_sqlite,
        past_first=after is not None,
    )
    return transaction.fetch(
        statement,
        reseller=reseller,
        external_id=external_id,
        address_key=address_hash(email) if email else None,
        limit=limit,
        after=after,
    )


_LENGTH = func.length(customers.c.name) + func.length(customers.c.person)
_ROWS = select(*CUSTOMER_PART, _LENGTH.label("text"))


@lru_cache(maxsize=256)  # callers name the states, in any combination
def _page(source: _Source, *, most: int, is_sqlite: bool, past_first: bool) -> Query[_PageRow]:
    """Makes what reads a page: its rows, how much text stands before each, those that fit."""
    rows: Select[Any] | CompoundSelect[Any]
    if source.by:
        rows = _with_value(source, source.by, past_first=past_first)
    else:
        rows = merged(
            *(_ROWS, customers.c.n, list(_runs(source))),
            most=most,
            is_sqlite=is_sqlite,
            past_first=past_first,
            oldest_first=source.oldest_first,
        )
    page = rows.subquery("page")
    order = page.c.n.asc() if source.oldest_first else page.c.n.desc()
    before = func.sum(page.c.text).over(order_by=order) - page.c.text
    measured = select(page, func.count().over().label("found"), before.label("before")).subquery(
        "measured"
    )
    fit = (
        select(*columns(measured, CustomerPart), measured.c.found)
        .where(measured.c.before < MAX_LIST_CHARACTERS)
        .order_by(measured.c.n.asc() if source.oldest_first else measured.c.n.desc())
    )
    names = "reseller", "external_id", "address_key", "limit", "after"
    return PartQuery(_PageRow, CustomerPart, fit, *names)


def _runs(source: _Source) -> Iterator[Run]:
    """Gives what is read side by side."""
    reseller: dict[Column[Any], Any] = {customers.c.reseller: bindparam("reseller")}
    living = source.states - {CustomerState.DELETED}
    if source.states == {CustomerState.SUSPENDED}:
        yield Run(reseller, [_IS_SUSPENDED, IS_LIVING])
    else:
        for kind, (code, states) in product(_kinds(source), _STATES.items()):
            if kind is not IS_LIVING or states & living:
                yield Run(reseller | {customers.c.invitation: code}, [kind])


def _with_value(source: _Source, by: str, *, past_first: bool) -> Select[Any]:
    """Returns the rows that have a value in a column. These are few, and sorted.

    Their numbers are found apart: asked for in the order of numbers, the databases might look for them
    in that order, through all rows that there are.
    """
    column = customers.c[by]
    numbers = union_all(
        *(
            select(customers.c.n).where(
                customers.c.reseller == bindparam("reseller"),
                column == bindparam(by, type_=column.type),
                kind,
            )
            for kind in _kinds(source)
        )
    )
    rows = _ROWS.where(customers.c.n.in_(numbers))
    if past_first:
        rows = rows.where(past(customers.c.n, oldest_first=source.oldest_first))
    return first(rows, customers.c.n, oldest_first=source.oldest_first)


def _kinds(source: _Source) -> list[ColumnElement[bool]]:
    """Returns which rows are looked at: of customers that are there, and of deleted ones."""
    kinds: list[ColumnElement[bool]] = (
        [IS_LIVING] if source.states - {CustomerState.DELETED} else []
    )
    return [*kinds, ~IS_LIVING] if CustomerState.DELETED in source.states else kinds


def _states(wanted: CustomerList) -> frozenset[CustomerState]:
    """Returns the states that what is asked for can have."""
    states = possible_values(wanted.filter_, "state", frozenset(CustomerState))
    return states if wanted.show_deleted else states - {CustomerState.DELETED}
