"""Lists of a reseller's invitations, in the order of their numbers.

What a filter asks for is looked up by an index where there is one: the state, the address, the
customer, how the e-mail stands. The rest of it is tried on what is found there, row by row, and on so
many rows at most.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, FromClause, Select, bindparam, select, text, true

from server.domain.filters import matches, names_field, possible_values, required_value
from server.domain.invitations import Invitation, InvitationList, InvitationState, as_of
from server.domain.mail import DeliveryState
from server.storage.customer_rows import INVITATION_PART, IS_LIVING, InvitationPart, invitation
from server.storage.interface.paging import Cursor, Listed, Part
from server.storage.invitations.addresses import address_hash
from server.storage.invitations.expire import IS_PENDING
from server.storage.invitations.read import unsent_deliveries
from server.storage.resellers import reseller_number
from server.storage.schema.codes import (
    DELIVERY_STATE_CODES,
    INVITATION_STATE_CODES,
    NO_INVITATION,
)
from server.storage.schema.tables import CustomerNumber, ResellerNumber, customers, operations
from server.storage.sql import bounded_lists
from server.storage.sql.bounded_lists import Step, read_part
from server.storage.sql.paging import Run, first, merged, past, rounded
from server.storage.sql.statements import IDS, Query, Transaction
from server.storage.sql.times import Micros, from_micros


class InvitationPage(NamedTuple):
    """A page to read: at most `limit` invitations, past a cursor."""

    wanted: InvitationList
    now: Micros
    limit: int
    after: Cursor | None


class _Source(NamedTuple):
    """Where to look: by a column's value, or in all that have one of these states.

    delivery: how their e-mails stand, of what an index has; None: in any way.
    """

    states: frozenset[InvitationState]
    by: str | None
    delivery: DeliveryState | None
    oldest_first: bool


def list_invitations(
    transaction: Transaction, pages: Sequence[InvitationPage]
) -> list[Part[Invitation]]:
    """Returns a page for each; see InvitationStorage.list_invitations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: InvitationPage) -> Part[Invitation]:
    reseller = reseller_number(transaction, page.wanted.reseller_id)
    if reseller is None:
        return Part([], None)
    condition = page.wanted.filter_
    now = from_micros(page.now)

    def read(limit: int, after: Cursor | None) -> Step[Invitation]:
        rows = _read(transaction, page, reseller, limit, after)
        unsent = (
            unsent_deliveries(transaction, rows) if names_field(condition, "delivery.state") else {}
        )

        def meets(record: Invitation) -> bool:
            shown = as_of(record, now)
            if shown.state is _PENDING and record.id in unsent:
                shown = shown._replace(delivery=unsent[record.id])
            return condition is None or matches(condition, shown.value_of)

        records = [Listed(invitation(transaction, row), Cursor(row.n)) for row in rows]
        found = [each for each in records if meets(each.record)]
        return Step(found, None if len(rows) < limit else records[-1].cursor)

    return read_part(page.limit, page.after, read)


def _read(
    transaction: Transaction,
    page: InvitationPage,
    reseller: ResellerNumber,
    limit: int,
    after: Cursor | None,
) -> list[InvitationPart]:
    """Returns rows past a number, in the order of the list."""
    filter_, oldest_first = page.wanted.filter_, page.wanted.oldest_first
    customer = required_value(filter_, "customer", str)
    address = required_value(filter_, "email", str)
    delivery = required_value(filter_, "delivery.state", DeliveryState)
    states = possible_values(filter_, "state", _EVERY)
    by = "id" if customer else "address_key" if address else None
    if delivery in _UNSENT_STATES:
        states &= {_PENDING}  # as only those of pending ones are
        undone = transaction.fetch(_UNDONE, reseller=reseller, limit=bounded_lists.LOOKED_AT + 1)
        # Where more are on their way, that is as good as all.
        if not by and len(undone) <= bounded_lists.LOOKED_AT:
            is_late = delivery is DeliveryState.DEFERRED
            numbers = {row.customer for row in undone if bool(row.is_late) is is_late}
            return _numbered(transaction, numbers, limit, after, oldest_first=oldest_first)
    source = _Source(
        states, by, delivery if delivery in DELIVERY_STATE_CODES else None, oldest_first
    )
    is_sqlite, past_first = transaction.is_sqlite, after is not None
    statements = _statements(
        source, most=rounded(limit), is_sqlite=is_sqlite, past_first=past_first
    )
    # What ends meanwhile is read by both statements, the latter as it is then.
    found = {
        row.n: row
        for statement in statements
        for row in transaction.fetch(
            statement,
            reseller=reseller,
            id=customer,
            address_key=address_hash(address) if address else None,
            delivery=DELIVERY_STATE_CODES[source.delivery] if source.delivery else None,
            now=page.now,
            limit=limit,
            after=after,
        )
    }
    rows = list(found.values())
    if len(statements) > 1:
        rows.sort(key=lambda row: row.n, reverse=not oldest_first)
    return rows[:limit]


def _numbered(
    transaction: Transaction,
    numbers: Collection[CustomerNumber],
    limit: int,
    after: Cursor | None,
    *,
    oldest_first: bool,
) -> list[InvitationPart]:
    """Returns the first rows with one of some numbers, past a number."""
    order = sorted(numbers, reverse=not oldest_first)
    if after is not None:
        order = [n for n in order if (n > after if oldest_first else n < after)]
    rows: list[InvitationPart] = []
    while order and len(rows) < limit:
        some, order = order[:limit], order[limit:]
        found = transaction.fetch(_BY_NUMBER, some)
        rows += sorted(found, key=lambda row: row.n, reverse=not oldest_first)
    return rows[:limit]


# Read whole, by the index of all that can lapse: what has lapsed and is not yet recorded is little.
_IS_LAPSED = customers.c.expires_at <= bindparam("now")
_LAPSED = (
    select(*INVITATION_PART).where(IS_PENDING, _IS_LAPSED).cte("lapsed").prefix_with("MATERIALIZED")
)
_ROWS = select(*INVITATION_PART)
_BY_NUMBER = Query(
    InvitationPart,
    _ROWS.where(customers.c.n.in_(IDS), customers.c.invitation != NO_INVITATION),
)
_EVERY = frozenset(InvitationState)
_PENDING, _EXPIRED = InvitationState.PENDING, InvitationState.EXPIRED
_NAMED = ("reseller", "id", "address_key", "delivery", "now", "limit", "after")
_UNSENT_STATES = (DeliveryState.QUEUED, DeliveryState.DEFERRED)


class _Undone(NamedTuple):
    customer: CustomerNumber
    is_late: bool


# Of all operations few are not done.
_UNDONE = Query(
    _Undone,
    select(operations.c.customer, operations.c.deferral.is_not(None))
    .where(
        operations.c.reseller == bindparam("reseller"), ~operations.c.done, ~operations.c.deleted
    )
    .limit(bindparam("limit")),
    *("reseller", "limit"),
)


@lru_cache(maxsize=256)  # callers name the states, in any combination
def _statements(
    source: _Source, *, most: int, is_sqlite: bool, past_first: bool
) -> list[Query[InvitationPart]]:
    """Makes what reads a page: the rows of all statements together, in order, are a part of the list.

    What is open is read before what has ended, since most that changes meanwhile goes that way.
    """
    if not source.states:
        return []
    if source.by == "id":
        pages = [_of_customer(source, past_first=past_first)]
    elif source.by:
        pages = _by_address(source, past_first=past_first)
    else:
        pages = _by_state(source, most=most, is_sqlite=is_sqlite, past_first=past_first)
    return [Query(InvitationPart, page, *_NAMED) for page in pages]


def _of_customer(source: _Source, *, past_first: bool) -> Select[Any]:
    rows = _ROWS.where(
        customers.c.id == bindparam("id"),
        customers.c.reseller == bindparam("reseller"),
        customers.c.invitation != NO_INVITATION,
    )
    return _page(rows, source, past_first=past_first)


def _page(rows: Select[Any], source: _Source, *, past_first: bool) -> Select[Any]:
    """Returns the first of rows that are few, and sorted."""
    if past_first:
        rows = rows.where(past(customers.c.n, oldest_first=source.oldest_first))
    return first(rows, customers.c.n, oldest_first=source.oldest_first)


def _has(delivery: DeliveryState | None, source: FromClause) -> ColumnElement[bool]:
    """Returns the condition that is met where latest e-mails stand so; the filter says if they do."""
    return true() if delivery is None else source.c.delivery == bindparam("delivery")


def _by_state(source: _Source, *, most: int, is_sqlite: bool, past_first: bool) -> list[Any]:
    """Makes what reads a reseller's invitations that have one of the states."""
    reseller: dict[Column[Any], Any] = {customers.c.reseller: bindparam("reseller")}
    has_lapsed = [] if {_PENDING, _EXPIRED} <= source.states else [~_IS_LAPSED]

    def runs(state: InvitationState) -> list[Run]:
        """Returns those of customers that are there, and of deleted ones: each has its index."""
        code = text(str(INVITATION_STATE_CODES[state]))
        conditions = [_has(source.delivery, customers)]
        if state is _PENDING:
            conditions += has_lapsed
        if source.delivery:  # which has one for both
            delivery: dict[Column[Any], Any] = {customers.c.delivery: bindparam("delivery")}
            return [Run(reseller | delivery | {customers.c.invitation: code}, conditions)]
        equal = reseller | {customers.c.invitation: code}
        if state is _PENDING:  # which a deletion ends
            return [Run(equal, [*conditions, IS_LIVING])]
        return [Run(equal, [*conditions, kind]) for kind in (IS_LIVING, ~IS_LIVING)]

    pages: list[Any] = [
        merged(
            _ROWS,
            customers.c.n,
            [run for state in InvitationState if state in source.states for run in runs(state)],
            most=most,
            is_sqlite=is_sqlite,
            past_first=past_first,
            oldest_first=source.oldest_first,
        )
    ]
    if _EXPIRED in source.states and _PENDING not in source.states:
        lapsed = select(_LAPSED).where(
            _LAPSED.c.reseller == bindparam("reseller"), _has(source.delivery, _LAPSED)
        )
        if past_first:
            lapsed = lapsed.where(past(_LAPSED.c.n, oldest_first=source.oldest_first))
        pages.insert(0, first(lapsed, _LAPSED.c.n, oldest_first=source.oldest_first))
    return pages


def _by_address(source: _Source, *, past_first: bool) -> list[Any]:
    """Makes what reads invitations for an address: those that have ended, and the open ones.

    The index has the former in their order, by their numbers below 0; the latter, rarely more than
    one, are sorted.
    """
    slot = customers.c.slot
    rows = _ROWS.where(
        customers.c.address_key == bindparam("address_key"),
        customers.c.reseller == bindparam("reseller"),
        _has(source.delivery, customers),
    )
    pages = []
    if open_states := source.states & {_PENDING, _EXPIRED}:
        page = rows.where(slot >= 0)
        if len(open_states) == 1:
            page = page.where(_IS_LAPSED if _EXPIRED in open_states else ~_IS_LAPSED)
        pages.append(_page(page, source, past_first=past_first))
    if ended := source.states - {_PENDING}:
        codes = [INVITATION_STATE_CODES[state] for state in InvitationState if state in ended]
        page = rows.where(slot < 0, customers.c.invitation.in_(codes))
        if past_first:
            place = -bindparam("after", type_=slot.type)
            page = page.where(slot < place if source.oldest_first else slot > place)
        order = slot.desc() if source.oldest_first else slot.asc()
        pages.append(page.order_by(order).limit(bindparam("limit")))
    return pages
