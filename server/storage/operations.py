"""Reading operations."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select, true, tuple_

from server.domain.operations import Operation
from server.storage.interface import Cursor
from server.storage.rows import OPERATION_COLUMNS, microseconds, operation
from server.storage.schema import operations as table
from server.storage.statements import IDS, Statement, Transaction

_BY_ID = Statement(select(*OPERATION_COLUMNS, table.c.deleted).where(table.c.id.in_(IDS)))


def _pages() -> dict[tuple[bool | None, bool], Statement]:
    """Makes the statements for a page of one reseller's operations, by `done` and is-not-first."""
    conditions = {None: true(), True: table.c.done, False: ~table.c.done}
    newest_first = (table.c.created_at.desc(), table.c.id.desc())
    older = tuple_(table.c.created_at, table.c.id) < tuple_(
        bindparam("created_at", type_=table.c.created_at.type),
        bindparam("id", type_=table.c.id.type),
    )

    def page(condition: Any, past_first: bool) -> Select[Any]:
        rows = select(*OPERATION_COLUMNS).where(
            table.c.reseller_id == bindparam("reseller_id"), ~table.c.deleted, condition
        )
        if past_first:
            rows = rows.where(older)
        return rows.order_by(*newest_first).limit(bindparam("limit"))

    return {
        (done, past_first): Statement(
            page(condition, past_first), "reseller_id", "limit", "created_at", "id"
        )
        for done, condition in conditions.items()
        for past_first in (False, True)
    }


_PAGES = _pages()


def by_id(transaction: Transaction, ids: list[str]) -> dict[str, Operation]:
    """Returns operations by ID, deleted ones too."""
    return {row[0]: operation(row) for row in transaction.fetch(_BY_ID, ids)}


def get(transaction: Transaction, ids: Sequence[str]) -> list[Operation | None]:
    """Returns operations; see Storage.get_operation."""
    found = {
        row[0]: operation(row)
        for row in transaction.fetch(_BY_ID, list(dict.fromkeys(ids)))
        if not row[-1]
    }
    return [found.get(id_) for id_ in ids]


class Page(NamedTuple):
    """Which operations to list."""

    reseller_ids: list[str]
    done: bool | None
    limit: int
    after: Cursor | None


def list_pages(transaction: Transaction, pages: Sequence[Page]) -> list[list[Operation]]:
    """Returns a page for each; see Storage.list_operations."""
    return [_list_page(transaction, page) for page in pages]


def _list_page(transaction: Transaction, page: Page) -> list[Operation]:
    values: dict[str, Any] = {"limit": page.limit}
    if page.after:
        values |= {"created_at": microseconds(page.after.created_at), "id": page.after.id}
    statement = _PAGES[page.done, page.after is not None]
    # One reseller at a time: only then does the index give the order.
    rows = [
        row
        for reseller_id in page.reseller_ids
        for row in transaction.fetch(statement, reseller_id=reseller_id, **values)
    ]
    if len(page.reseller_ids) > 1:
        rows.sort(key=lambda row: (row[6], row[0]), reverse=True)
    return [operation(row) for row in rows[: page.limit]]
