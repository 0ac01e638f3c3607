"""Reading invitations: by link, by ID, and lists of a reseller's, newest first."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import FromClause, Select, bindparam, select, tuple_

from server.domain.invitations import Invitation, InvitationState, InvitationView
from server.storage.interface import Cursor
from server.storage.rows import INVITATION_COLUMNS, IS_HELD, invitation, microseconds
from server.storage.schema import customers, link_tokens, resellers
from server.storage.schema import invitations as table
from server.storage.statements import IDS, Statement, Transaction

_PENDING, _EXPIRED = InvitationState.PENDING, InvitationState.EXPIRED
_NAMES = [column.name for column in INVITATION_COLUMNS]
_ID, _CREATED_AT = _NAMES.index("id"), _NAMES.index("created_at")

_IS_LAPSED = table.c.expires_at <= bindparam("now")
# Read whole, by the index of all that can lapse: what has lapsed and is not yet recorded is little.
_LAPSED = (
    select(table)
    .where(table.c.open_key.is_not(None), _IS_LAPSED)
    .cte("lapsed")
    .prefix_with("MATERIALIZED")
)


_BY_LINK = Statement(
    select(
        link_tokens.c.token_hash,
        *INVITATION_COLUMNS,
        resellers.c.name,
        customers.c.name,
        table.c.latest_operation_id != link_tokens.c.operation_id,
        IS_HELD,
        resellers.c.contact,
    )
    .join_from(link_tokens, table, table.c.id == link_tokens.c.invitation_id)
    .join(resellers, resellers.c.id == table.c.reseller_id)
    .join(customers, customers.c.id == table.c.customer_id)
    .where(link_tokens.c.token_hash.in_(IDS))
)
_BY_ID = Statement(select(*INVITATION_COLUMNS).where(table.c.id.in_(IDS)))


def look_up(transaction: Transaction, batch: Sequence[bytes]) -> list[InvitationView | None]:
    """Returns what links lead to; see Storage.look_up_invitation."""
    found = {
        bytes(token_hash): InvitationView(
            invitation(tuple(row)), reseller, customer, bool(replaced), bool(held), contact
        )
        for token_hash, *row, reseller, customer, replaced, held, contact in transaction.fetch(
            _BY_LINK, list(set(batch))
        )
    }
    return [found.get(token_hash) for token_hash in batch]


def get(transaction: Transaction, ids: Sequence[str]) -> list[Invitation | None]:
    """Returns invitations; see Storage.get_invitation."""
    found = {row[0]: invitation(row) for row in transaction.fetch(_BY_ID, list(dict.fromkeys(ids)))}
    return [found.get(id_) for id_ in ids]


class Page(NamedTuple):
    """Which invitations to list. `email_key` is what `address_key` returns."""

    reseller_id: str
    state: InvitationState | None
    email_key: str | None
    now: int
    limit: int
    after: Cursor | None


def list_pages(transaction: Transaction, pages: Sequence[Page]) -> list[list[Invitation]]:
    """Returns a page for each; see Storage.list_invitations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: Page) -> list[Invitation]:
    values: dict[str, Any] = {
        "reseller_id": page.reseller_id,
        "email_key": page.email_key,
        "now": page.now,
        "limit": page.limit,
    }
    if page.after:
        values |= {"created_at": microseconds(page.after.created_at), "id": page.after.id}
    statements = _PAGES[page.state, page.email_key is not None, page.after is not None]
    rows = [row for statement in statements for row in transaction.fetch(statement, **values)]
    if len(statements) > 1:
        rows.sort(key=lambda row: (row[_CREATED_AT], row[_ID]), reverse=True)
    return [invitation(row) for row in rows[: page.limit]]


def _pages() -> dict[tuple[InvitationState | None, bool, bool], list[Statement]]:
    """Makes the statements for a page, by state, is-for-an-address and is-not-first.

    Each reads rows of one recorded state, in the order of an index.
    """
    return {
        (state, by_email, past_first): [
            Statement(
                _page(source, by_email, past_first),
                *("reseller_id", "email_key", "now", "limit", "created_at", "id"),
            )
            for source in _sources(state)
        ]
        for state in (None, *InvitationState)
        for by_email in (False, True)
        for past_first in (False, True)
    }


def _sources(state: InvitationState | None) -> list[tuple[FromClause, list[Any]]]:
    """Returns the tables and conditions that together give what is in the state; None: in any."""

    def recorded(state: InvitationState) -> Any:
        return table.c.state == state.value

    if state is None:
        return [(table, [recorded(each)]) for each in InvitationState]
    if state is _PENDING:
        return [(table, [recorded(_PENDING), ~_IS_LAPSED])]
    if state is _EXPIRED:
        return [(table, [recorded(_EXPIRED)]), (_LAPSED, [])]
    return [(table, [recorded(state)])]


def _page(source: tuple[FromClause, list[Any]], by_email: bool, past_first: bool) -> Select[Any]:
    rows, conditions = source
    page = select(*(rows.c[name] for name in _NAMES)).where(
        rows.c.reseller_id == bindparam("reseller_id"), *conditions
    )
    if by_email:
        page = page.where(rows.c.email_key == bindparam("email_key"))
    if past_first:
        page = page.where(
            tuple_(rows.c.created_at, rows.c.id)
            < tuple_(
                bindparam("created_at", type_=table.c.created_at.type),
                bindparam("id", type_=table.c.id.type),
            )
        )
    newest_first = rows.c.created_at.desc(), rows.c.id.desc()
    return page.order_by(*newest_first).limit(bindparam("limit"))


_PAGES = _pages()
