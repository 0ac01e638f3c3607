"""Lists of who has which role for a reseller, as callers see them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from server.domain.access import Role
from server.domain.role_changes import AccessBinding, HeldRole
from server.storage.interface.paging import Cursor, Listed
from server.storage.schema.access_tables import role_bindings, service_accounts
from server.storage.schema.tables import RoleNumber, SubjectId
from server.storage.sql.paging import first, listed, past
from server.storage.sql.statements import Query, Transaction


class BindingPage(NamedTuple):
    """Which roles for a reseller to list."""

    reseller_id: str
    limit: int
    after: Cursor | None


class _Binding(NamedTuple):
    n: RoleNumber
    subject_id: SubjectId
    role: str
    account: SubjectId | None


def _page(*, past_first: bool) -> Query[_Binding]:
    rows = (
        select(role_bindings.c.n, role_bindings.c.subject_id, role_bindings.c.role)
        .add_columns(service_accounts.c.id)
        .select_from(
            role_bindings.outerjoin(
                service_accounts, service_accounts.c.id == role_bindings.c.subject_id
            )
        )
        .where(role_bindings.c.reseller_id == bindparam("reseller_id"))
    )
    if past_first:
        rows = rows.where(past(role_bindings.c.n))
    return Query(_Binding, first(rows, role_bindings.c.n), "reseller_id", "limit", "after")


_PAGES = {past_first: _page(past_first=past_first) for past_first in (False, True)}


def list_bindings(
    transaction: Transaction, pages: Sequence[BindingPage]
) -> list[list[Listed[AccessBinding]]]:
    """Returns a page for each; see AccessStorage.list_bindings."""
    return [
        listed(transaction.fetch(_PAGES[page.after is not None], **page._asdict()), _binding)
        for page in pages
    ]


def _binding(row: _Binding) -> AccessBinding:
    return AccessBinding(HeldRole(row.subject_id, Role(row.role)), row.account is not None)
