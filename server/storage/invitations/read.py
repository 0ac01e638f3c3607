"""Reading invitations: by link, by ID, and lists of a reseller's, newest first.

Longer than others: all lists are made by one set of rules.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    exists,
    select,
    text,
    true,
)

from server.domain import ids
from server.domain.addresses import address_key
from server.domain.invitations import Invitation, InvitationState, InvitationView
from server.domain.mail import DeliveryState, EmailDelivery, deferred
from server.storage.customer_rows import INVITATION_PART, IS_LIVING, InvitationPart, invitation
from server.storage.interface.paging import Cursor, Listed
from server.storage.invitations.addresses import address_hash
from server.storage.invitations.expire import IS_PENDING
from server.storage.invitations.links import link_number
from server.storage.operations.rows import deferral
from server.storage.reseller_details import is_listed, read_details
from server.storage.resellers import IS_HELD, reseller_number
from server.storage.schema.codes import (
    DELIVERY_STATE_CODES,
    INVITATION_STATE_CODES,
    NO_INVITATION,
    PENDING,
)
from server.storage.schema.columns import Count
from server.storage.schema.tables import (
    CustomerId,
    CustomerNumber,
    DeferralJson,
    DetailsJson,
    DisplayName,
    Email,
    InvitationId,
    LinkHash,
    OperationNumber,
    OriginsJson,
    ResellerNumber,
    customers,
    link_tokens,
    operations,
    resellers,
)
from server.storage.sql.paging import Run, first, listed, merged
from server.storage.sql.statements import IDS, Query, Transaction, columns
from server.storage.sql.times import Micros


class Link(NamedTuple):
    """A link, and whose it is; `email` is as in its row."""

    hash: LinkHash
    customer: CustomerNumber
    operation: OperationNumber
    email: Email | None


class _Names(NamedTuple):
    """Who invites whom."""

    n: CustomerNumber
    reseller_name: DisplayName
    name: DisplayName
    is_held: bool
    contact: str | None
    contact_details: DetailsJson | None
    return_origins: OriginsJson | None


class _Number(NamedTuple):
    """The number of a row, and the IDs that it is found by."""

    n: CustomerNumber
    id: CustomerId
    invitation_id: InvitationId | None


_LINKS = Query(Link, select(*columns(link_tokens, Link)).where(link_tokens.c.n.in_(IDS)))
_BY_NUMBER = Query(InvitationPart, select(*INVITATION_PART).where(customers.c.n.in_(IDS)))
_NAMES = Query(
    _Names,
    select(
        *(customers.c.n, resellers.c.name, customers.c.name, IS_HELD),
        *(resellers.c.contact, resellers.c.contact_details, resellers.c.return_origins),
    )
    .join_from(customers, resellers, resellers.c.n == customers.c.reseller)
    .where(customers.c.n.in_(IDS)),
)
_is_invited = and_(customers.c.invitation != NO_INVITATION, customers.c.invitation_id.is_(None))
# Whose ID ends like the customer's: all but those of before version 0015.
_BY_CUSTOMER_ID = Query(
    InvitationPart, select(*INVITATION_PART).where(customers.c.id.in_(IDS), _is_invited)
)
_OF_CUSTOMERS = Query(
    InvitationPart,
    select(*INVITATION_PART).where(
        customers.c.id.in_(IDS), customers.c.invitation != NO_INVITATION
    ),
)
_BY_ID = Query(InvitationPart, select(*INVITATION_PART).where(customers.c.invitation_id.in_(IDS)))


def find_links(transaction: Transaction, token_hashes: Sequence[bytes]) -> dict[bytes, Link]:
    """Returns links by the hashes of their secrets."""
    wanted = list({link_number(token_hash) for token_hash in token_hashes})
    return {link.hash: link for link in transaction.fetch(_LINKS, wanted)} if wanted else {}


def look_up_invitations(
    transaction: Transaction, batch: Sequence[bytes]
) -> list[InvitationView | None]:
    """Returns what links lead to; see InvitationStorage.look_up_invitation."""
    links = find_links(transaction, batch)
    wanted = list({link.customer for link in links.values()})
    if not wanted:
        return [None] * len(batch)
    rows = {row.n: row for row in transaction.fetch(_BY_NUMBER, wanted)}
    names = {row.n: row for row in transaction.fetch(_NAMES, wanted)}
    outcomes: list[InvitationView | None] = []
    for token_hash in batch:
        link = links.get(token_hash)
        row = rows.get(link.customer) if link else None
        name = names.get(link.customer) if link else None
        view = None
        if row and link and name:
            found = invitation(transaction, row)
            found = found._replace(email=link.email or found.email)
            uri = found.options.return_uri
            view = InvitationView(
                found,
                name.reseller_name,
                name.name,
                replaced=row.latest != link.operation,
                held=bool(name.is_held),
                contact=name.contact,
                details=read_details(name.contact_details),
                return_uri=uri if is_listed(uri, name.return_origins) else "",
            )
        outcomes.append(view)
    return outcomes


def find_invitations(transaction: Transaction, wanted: Sequence[str]) -> dict[str, InvitationPart]:
    """Returns rows by the invitations' IDs."""
    likely = [ids.CUSTOMER + id_[3:] for id_ in set(wanted) if id_.startswith(ids.INVITATION)]
    rows = transaction.fetch(_BY_CUSTOMER_ID, likely) if likely else []
    found = {row.public_id: row for row in rows}
    others = [id_ for id_ in set(wanted) if id_ not in found]
    if others:
        found |= {row.public_id: row for row in transaction.fetch(_BY_ID, others)}
    return found


def get_invitations(transaction: Transaction, wanted: Sequence[str]) -> list[Invitation | None]:
    """Returns invitations; see InvitationStorage.get_invitation."""
    found = find_invitations(transaction, wanted)
    return [invitation(transaction, row) if (row := found.get(id_)) else None for id_ in wanted]


def get_customer_invitations(
    transaction: Transaction, batch: Sequence[Sequence[str]]
) -> list[dict[str, Invitation]]:
    """Returns invitations by customer; see InvitationStorage.get_customer_invitations."""
    return [
        {row.id: invitation(transaction, row) for row in transaction.fetch(_OF_CUSTOMERS, wanted)}
        for wanted in batch
    ]


class _Unsent(NamedTuple):
    """An operation whose e-mail has not gone out yet."""

    n: OperationNumber
    attempts: Count
    deferral: DeferralJson | None


_UNSENT = Query(
    _Unsent,
    select(*columns(operations, _Unsent)).where(operations.c.n.in_(IDS), ~operations.c.done),
)


def get_unsent(transaction: Transaction, wanted: Sequence[str]) -> list[EmailDelivery | None]:
    """Returns how e-mails on their way stand; see InvitationStorage.get_unsent."""
    rows = find_invitations(transaction, wanted)
    latest = {id_: row.latest for id_, row in rows.items() if row.invitation == PENDING}
    numbers = list(set(latest.values()))
    found = {
        row.n: _unsent(row) for row in (transaction.fetch(_UNSENT, numbers) if numbers else [])
    }
    return [found.get(latest[id_]) if id_ in latest else None for id_ in wanted]


def _unsent(row: _Unsent) -> EmailDelivery:
    if row.deferral is None:
        return EmailDelivery(DeliveryState.QUEUED, row.attempts)
    return deferred(deferral(row.deferral))


class InvitationPage(NamedTuple):
    """Which invitations to list. `address` is what `address_key` returns."""

    reseller_id: str
    state: InvitationState | None
    address: str | None
    delivery: DeliveryState | None
    now: Micros
    limit: int
    after: Cursor | None


def list_invitations(
    transaction: Transaction, pages: Sequence[InvitationPage]
) -> list[list[Listed[Invitation]]]:
    """Returns a page for each; see InvitationStorage.list_invitations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: InvitationPage) -> list[Listed[Invitation]]:
    reseller = reseller_number(transaction, page.reseller_id)
    if reseller is None:
        return []
    rows: list[InvitationPart] = []
    after = page.after
    while True:
        read = _read(transaction, page, reseller, after)
        rows += [row for row in read if page.address is None or _is_at(row, page.address, reseller)]
        # What has the hash of the address and is for another is rare; then more is read.
        if len(read) < page.limit or len(rows) >= page.limit:
            return listed(rows[: page.limit], lambda row: invitation(transaction, row))
        after = Cursor(read[-1].n)


def _is_at(row: InvitationPart, address: str, reseller: ResellerNumber) -> bool:
    return row.reseller == reseller and address_key(row.email) == address


def _read(
    transaction: Transaction,
    page: InvitationPage,
    reseller: ResellerNumber,
    after: Cursor | None,
) -> list[InvitationPart]:
    """Returns rows past a number, newest first: at most as many as the page holds."""
    values: dict[str, Any] = {
        "reseller": reseller,
        "address_key": None,
        "delivery": DELIVERY_STATE_CODES.get(page.delivery) if page.delivery else None,
        "now": page.now,
        "limit": page.limit,
        "after": after,
    }
    if page.address is not None:
        values["address_key"] = address_hash(page.address)
    statements = _pages(
        *(page.state, page.delivery, page.address is not None),
        is_sqlite=transaction.is_sqlite,
        past_first=after is not None,
    )
    rows = [row for statement in statements for row in transaction.fetch(statement, **values)]
    if len(statements) > 1:
        rows.sort(key=lambda row: row.n, reverse=True)
    return rows[: page.limit]


# Read whole, by the index of all that can lapse: what has lapsed and is not yet recorded is little.
_IS_LAPSED = customers.c.expires_at <= bindparam("now")
_LAPSED = (
    select(*INVITATION_PART).where(IS_PENDING, _IS_LAPSED).cte("lapsed").prefix_with("MATERIALIZED")
)
_PENDING, _EXPIRED = InvitationState.PENDING, InvitationState.EXPIRED
_NAMED = ("reseller", "address_key", "delivery", "now", "limit", "after")
_UNSENT_STATES = (DeliveryState.QUEUED, DeliveryState.DEFERRED)


def _recorded(state: InvitationState) -> ColumnElement[bool]:
    if state is _PENDING:
        return IS_PENDING
    return customers.c.invitation == INVITATION_STATE_CODES[state]


def _has(delivery: DeliveryState | None, source: FromClause) -> ColumnElement[bool]:
    """Returns the condition that the latest e-mails of invitations stand so.

    Only of pending ones are any on their way; those are then all that counts.
    """
    if delivery is None:
        return true()
    unsent = exists().where(operations.c.n == source.c.latest, ~operations.c.done)
    if delivery is DeliveryState.QUEUED:
        unsent = unsent.where(operations.c.deferral.is_(None))
    if delivery is DeliveryState.DEFERRED:
        unsent = unsent.where(operations.c.deferral.is_not(None))
    if delivery in _UNSENT_STATES:
        return unsent
    is_sent = ~(unsent & (source.c.invitation == PENDING))
    if delivery is DeliveryState.SENT:
        return and_(source.c.delivery.is_(None), source.c.sent.is_not(None), is_sent)
    return (source.c.delivery == bindparam("delivery")) & is_sent


def _by_state(
    state: InvitationState | None,
    delivery: DeliveryState | None,
    *,
    is_sqlite: bool,
    past_first: bool,
) -> list[Query[InvitationPart]]:
    """Makes what reads a reseller's invitations in a state; None: in any."""

    def runs(each: InvitationState, *conditions: ColumnElement[bool]) -> list[Run]:
        """Returns those of customers that are there, and of deleted ones: each has its index."""
        equal = {
            customers.c.reseller: bindparam("reseller"),
            customers.c.invitation: text(str(INVITATION_STATE_CODES[each])),
        }
        conditions = (*conditions, _has(delivery, customers))
        if delivery in DELIVERY_STATE_CODES:  # which has one for both
            return [Run(equal, conditions)]
        if each is _PENDING:  # which a deletion ends
            return [Run(equal, (*conditions, IS_LIVING))]
        return [Run(equal, (*conditions, condition)) for condition in (IS_LIVING, ~IS_LIVING)]

    if state is None:
        wanted = [run for each in InvitationState for run in runs(each)]
    else:
        wanted = runs(state, *([~_IS_LAPSED] if state is _PENDING else ()))
    pages = [
        merged(
            select(*INVITATION_PART),
            *(customers.c.n, wanted),
            is_sqlite=is_sqlite,
            past_first=past_first,
        )
    ]
    if state is _EXPIRED:
        lapsed = select(_LAPSED).where(
            _LAPSED.c.reseller == bindparam("reseller"), _has(delivery, _LAPSED)
        )
        if past_first:
            lapsed = lapsed.where(_LAPSED.c.n < bindparam("after"))
        pages.append(first(lapsed, _LAPSED.c.n))
    return [Query(InvitationPart, page, *_NAMED) for page in pages]


def _on_their_way(delivery: DeliveryState, *, past_first: bool) -> list[Query[InvitationPart]]:
    """Makes what reads those whose e-mails have not gone out: of all operations few are not done."""
    is_late = operations.c.deferral.is_not(None)
    rows = (
        select(*INVITATION_PART)
        .join_from(operations, customers, customers.c.latest == operations.c.n)
        .where(
            customers.c.n == operations.c.customer,
            operations.c.reseller == bindparam("reseller"),
            ~operations.c.done,
            ~operations.c.deleted,
            is_late if delivery is DeliveryState.DEFERRED else ~is_late,
            IS_PENDING,
            ~_IS_LAPSED,
        )
    )
    if past_first:
        rows = rows.where(customers.c.n < bindparam("after"))
    newest = rows.order_by(customers.c.n.desc()).limit(bindparam("limit"))
    return [Query(InvitationPart, newest, *_NAMED)]


def _by_address(
    state: InvitationState | None, delivery: DeliveryState | None, *, past_first: bool
) -> list[Query[InvitationPart]]:
    """Makes what reads invitations for an address: those that have ended, and the open ones.

    The index has the former newest first; the latter, rarely more than one, are sorted.
    """
    has_ended, is_open = customers.c.slot < 0, customers.c.slot >= 0
    ended = select(*INVITATION_PART).where(has_ended)
    open_ = select(*INVITATION_PART).where(is_open)
    if state is _PENDING:
        parts = [(open_.where(~_IS_LAPSED), customers.c.n.desc())]
    elif state is _EXPIRED:
        parts = [
            (ended.where(_recorded(_EXPIRED)), customers.c.slot.asc()),
            (open_.where(_IS_LAPSED), customers.c.n.desc()),
        ]
    elif state is None:
        parts = [(ended, customers.c.slot.asc()), (open_, customers.c.n.desc())]
    else:
        parts = [(ended.where(_recorded(state)), customers.c.slot.asc())]
    queries = []
    for rows, order in parts:
        page = rows.where(
            customers.c.address_key == bindparam("address_key"),
            customers.c.reseller == bindparam("reseller"),
            _has(delivery, customers),
        )
        if past_first:
            is_older = customers.c.n < bindparam("after")
            if order.element is customers.c.slot:
                is_older = customers.c.slot > -bindparam("after", type_=customers.c.slot.type)
            page = page.where(is_older)
        page = page.order_by(order).limit(bindparam("limit"))
        queries.append(Query(InvitationPart, page, *_NAMED))
    return queries


@cache
def _pages(
    state: InvitationState | None,
    delivery: DeliveryState | None,
    by_address: bool,
    *,
    is_sqlite: bool,
    past_first: bool,
) -> list[Query[InvitationPart]]:
    if delivery in _UNSENT_STATES:
        if state not in (None, _PENDING):
            return []
        if not by_address and delivery:
            return _on_their_way(delivery, past_first=past_first)
        state = _PENDING
    if by_address:
        return _by_address(state, delivery, past_first=past_first)
    return _by_state(state, delivery, is_sqlite=is_sqlite, past_first=past_first)
