"""Changes of resellers, accounts and keys, each with its audit record.

Longer than others: a list of small changes of one shape.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Table, bindparam, delete, func, select, update

from server.domain.access import AccountKey, AuditRecord
from server.domain.errors import BillingError, Reason
from server.storage.access.audit import record_change
from server.storage.access.bindings import require_free, take_roles_for, take_roles_of
from server.storage.access.identity import KEYS
from server.storage.reseller_details import (
    details_json,
    origins_json,
    read_details,
    read_origins,
)
from server.storage.schema.access_tables import (
    AccountKeyRow,
    ServiceAccountRow,
    access_tokens,
    account_keys,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import (
    DetailsJson,
    DisplayName,
    KeyId,
    OriginsJson,
    ResellerId,
    ResellerNumber,
    ResellerRow,
    SubjectId,
    resellers,
)
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction, columns
from server.storage.sql.times import Micros, micros
from server.storage.sql.transactions import one_by_one
from server.storage.webhooks.delivery_rows import hold_reseller, release_reseller
from server.storage.work.held_mail import hold_mail, release_mail


class _Reseller(NamedTuple):
    n: ResellerNumber
    name: DisplayName
    suspended_at: Micros | None
    removed_at: Micros | None
    contact_details: DetailsJson | None
    return_origins: OriginsJson | None


class _Account(NamedTuple):
    name: DisplayName


class _Role(NamedTuple):
    role: str


class _Number(NamedTuple):
    n: int


_NEXT_NUMBER = Query(_Number, select(func.coalesce(func.max(resellers.c.n), 0) + 1))
_RESELLERS = Query(
    _Reseller,
    select(*columns(resellers, _Reseller)).where(resellers.c.id.in_(IDS)).with_for_update(),
)
_RENAME_RESELLER = Statement(
    update(resellers)
    .where(resellers.c.id.in_(IDS))
    .values(name=bindparam("name"), modified_at=bindparam("now"), removed_at=None),
    "name",
    "now",
)
_REMOVE_RESELLER = Statement(
    update(resellers).where(resellers.c.id.in_(IDS)).values(removed_at=bindparam("now")), "now"
)
_SUSPEND_RESELLER = Statement(
    update(resellers).where(resellers.c.id.in_(IDS)).values(suspended_at=bindparam("at")), "at"
)
_SET_CONTACT = Statement(
    update(resellers)
    .where(resellers.c.id.in_(IDS))
    .values(contact=bindparam("contact"), modified_at=bindparam("now")),
    "contact",
    "now",
)
_SET_DETAILS = Statement(
    update(resellers)
    .where(resellers.c.id.in_(IDS))
    .values(contact_details=bindparam("details"), modified_at=bindparam("now")),
    *("details", "now"),
)
_SET_ORIGINS = Statement(
    update(resellers)
    .where(resellers.c.id.in_(IDS))
    .values(return_origins=bindparam("origins"), modified_at=bindparam("now")),
    *("origins", "now"),
)
_ACCOUNTS = Query(
    _Account,
    select(service_accounts.c.name).where(service_accounts.c.id.in_(IDS)).with_for_update(),
)
_RENAME_ACCOUNT = Statement(
    update(service_accounts).where(service_accounts.c.id.in_(IDS)).values(name=bindparam("name")),
    "name",
)
_ROLES_OF_SUBJECT = Query(
    _Role, select(role_bindings.c.role).where(role_bindings.c.subject_id.in_(IDS))
)


def _deletion(table: Table, column: str) -> Statement:
    return Statement(delete(table).where(table.c[column].in_(IDS)))


_DELETE_ACCOUNT_ROW = _deletion(service_accounts, "id")
_DELETE_ACCOUNT = [
    _deletion(access_tokens, "subject_id"),
    _deletion(account_keys, "service_account_id"),
    _DELETE_ACCOUNT_ROW,
]
_DELETE_KEY = _deletion(account_keys, "id")
_INSERT_RESELLERS = Insert(resellers, ResellerRow)
_INSERT_ACCOUNTS = Insert(service_accounts, ServiceAccountRow)
_INSERT_KEYS = Insert(account_keys, AccountKeyRow)


class NamedRecord(NamedTuple):
    """A reseller or service account to add or rename, or (without a name) to remove."""

    id: str
    name: str
    now: Micros
    by: str


class DetailsChange(NamedTuple):
    """Contact details to set, by their names, and "" for those to take away."""

    reseller_id: str
    details: Mapping[str, str]
    now: Micros
    by: str


class OriginChange(NamedTuple):
    """An origin to add to a reseller's list, or to take from it."""

    reseller_id: str
    origin: str
    add: bool
    now: Micros
    by: str


class KeyChange(NamedTuple):
    """A key to add."""

    key: AccountKey
    by: str


@one_by_one
def put_reseller(transaction: Transaction, reseller: NamedRecord) -> None:
    """Adds or renames."""
    id_, name, now, by = reseller
    found = _reseller(transaction, id_)
    if found is None:
        ((number,),) = transaction.fetch(_NEXT_NUMBER)
        row = ResellerRow(
            *(ResellerNumber(number), ResellerId(id_), DisplayName(name)),
            created_at=now,
            modified_at=now,
            removed_at=None,
            suspended_at=None,
            contact=None,
        )
        transaction.insert(_INSERT_RESELLERS, [row])
    else:
        if found.name == name and found.removed_at is None:
            return
        if found.removed_at is not None:
            take_roles_for(transaction, id_, now, by)
        transaction.run(_RENAME_RESELLER, [id_], name=name, now=now)
        if found.removed_at is not None and found.suspended_at is None:
            _release(transaction, found.n, now)
    record_change(transaction, now, by, "resellers.add", id_, name)


@one_by_one
def remove_reseller(transaction: Transaction, reseller: NamedRecord) -> bool:
    """Removes it and holds what is to be sent; its row stays for what it has invited."""
    id_, _, now, by = reseller
    found = _reseller(transaction, id_)
    if found is None or found.removed_at is not None:
        return False
    transaction.run(_REMOVE_RESELLER, [id_], now=now)
    _hold(transaction, found.n)
    record_change(transaction, now, by, "resellers.remove", id_, "")
    return True


def _hold(transaction: Transaction, reseller: ResellerNumber) -> None:
    hold_mail(transaction, reseller)
    hold_reseller(transaction, reseller)


def _release(transaction: Transaction, reseller: ResellerNumber, now: Micros) -> None:
    release_mail(transaction, reseller, now)
    release_reseller(transaction, reseller, now)


@one_by_one
def set_contact(transaction: Transaction, reseller: NamedRecord) -> None:
    """Sets the address given as the name; refuses an unknown reseller with NOT_FOUND."""
    id_, contact, now, by = reseller
    _require_reseller(transaction, id_)
    transaction.run(_SET_CONTACT, [id_], contact=contact or None, now=now)
    record_change(transaction, now, by, "resellers.contact", id_, "set" if contact else "removed")


@one_by_one
def set_details(transaction: Transaction, change: DetailsChange) -> None:
    """Sets contact details and leaves the others; refuses an unknown reseller with NOT_FOUND."""
    id_, wanted, now, by = change
    found = _require_reseller(transaction, id_)
    details = read_details(found.contact_details)._replace(**wanted)
    transaction.run(_SET_DETAILS, [id_], details=details_json(details), now=now)
    told = ", ".join(f"{name} {'set' if value else 'removed'}" for name, value in wanted.items())
    record_change(transaction, now, by, "resellers.contact-details", id_, told)


@one_by_one
def change_origins(transaction: Transaction, change: OriginChange) -> bool:
    """Changes the list, tells if that was needed; refuses an unknown reseller with NOT_FOUND."""
    id_, origin, add, now, by = change
    before = set(read_origins(_require_reseller(transaction, id_).return_origins))
    after = before | {origin} if add else before - {origin}
    if after == before:
        return False
    transaction.run(_SET_ORIGINS, [id_], origins=origins_json(list(after)), now=now)
    action = f"resellers.{'add' if add else 'remove'}-return-origin"
    record_change(transaction, now, by, action, id_, origin)
    return True


@one_by_one
def suspend_reseller(transaction: Transaction, reseller: NamedRecord) -> bool:
    """Suspends it and holds what is to be sent; tells if it was not before."""
    id_, _, now, by = reseller
    found = _require_reseller(transaction, id_)
    if found.suspended_at is not None:
        return False
    transaction.run(_SUSPEND_RESELLER, [id_], at=now)
    _hold(transaction, found.n)
    record_change(transaction, now, by, "resellers.suspend", id_, "")
    return True


@one_by_one
def resume_reseller(transaction: Transaction, reseller: NamedRecord) -> bool:
    """Lets it go on; tells if it was suspended."""
    id_, _, now, by = reseller
    found = _require_reseller(transaction, id_)
    if found.suspended_at is None:
        return False
    transaction.run(_SUSPEND_RESELLER, [id_], at=None)
    _release(transaction, found.n, now)
    record_change(transaction, now, by, "resellers.resume", id_, "")
    return True


@one_by_one
def put_account(transaction: Transaction, account: NamedRecord) -> None:
    """Adds or renames; refuses one whose ID is an outside subject's with FIELDS_INVALID."""
    id_, name, now, by = account
    require_free(id_)
    found = transaction.fetch(_ACCOUNTS, [id_])
    if found == [(name,)]:
        return
    if found:
        transaction.run(_RENAME_ACCOUNT, [id_], name=name)
    else:
        # The row first, then the look: whoever grants one meanwhile has the ID until the commit.
        row = ServiceAccountRow(SubjectId(id_), DisplayName(name), now)
        transaction.insert(_INSERT_ACCOUNTS, [row])
        if transaction.fetch(_ROLES_OF_SUBJECT, [id_]):
            transaction.run(_DELETE_ACCOUNT_ROW, [id_])
            raise BillingError(
                Reason.FIELDS_INVALID,
                f"{id_} has roles already, granted to the outside issuer's subject of that name, "
                "which would become the account's: choose another ID, or revoke them first.",
            )
    record_change(transaction, now, by, "service-accounts.add", id_, name)


@one_by_one
def remove_account(transaction: Transaction, account: NamedRecord) -> bool:
    """Removes it with its keys, roles and access tokens."""
    id_, _, now, by = account
    if not transaction.fetch(_ACCOUNTS, [id_]):
        return False
    take_roles_of(transaction, id_, now, by)
    for statement in _DELETE_ACCOUNT:
        transaction.run(statement, [id_])
    record_change(transaction, now, by, "service-accounts.remove", id_, "")
    return True


@one_by_one
def add_key(transaction: Transaction, change: KeyChange) -> None:
    """Adds a key; refuses an unknown account with NOT_FOUND."""
    key, by = change
    if not transaction.fetch(_ACCOUNTS, [key.service_account_id]):
        raise _unknown("service account", key.service_account_id)
    now = micros(key.created_at)
    account_id = SubjectId(key.service_account_id)
    row = AccountKeyRow(KeyId(key.id), account_id, key.algorithm, key.public_key, now)
    transaction.insert(_INSERT_KEYS, [row])
    details = f"service account {key.service_account_id}"
    record_change(transaction, now, by, "keys.add", key.id, details)


@one_by_one
def remove_key(transaction: Transaction, key: NamedRecord) -> bool:
    """Removes a key: what was got with it ceases to hold."""
    id_, _, now, by = key
    found = transaction.fetch(KEYS, [id_])
    if not found:
        return False
    transaction.run(_DELETE_KEY, [id_])
    record_change(
        transaction, now, by, "keys.remove", id_, f"service account {found[0].service_account_id}"
    )
    return True


@one_by_one
def record(transaction: Transaction, entry: AuditRecord) -> None:
    """Records a change that was made elsewhere."""
    record_change(
        transaction,
        micros(entry.at),
        entry.actor,
        entry.action,
        entry.target,
        entry.details,
    )


def _reseller(transaction: Transaction, reseller_id: str) -> _Reseller | None:
    """Returns a reseller's row, locked, also that of a removed one."""
    rows = transaction.fetch(_RESELLERS, [reseller_id])
    return rows[0] if rows else None


def _require_reseller(transaction: Transaction, reseller_id: str) -> _Reseller:
    """Returns a reseller's row, locked; refuses an unknown or removed one with NOT_FOUND."""
    found = _reseller(transaction, reseller_id)
    if found is None or found.removed_at is not None:
        raise _unknown("reseller", reseller_id)
    return found


def _unknown(what: str, id_: str) -> BillingError:
    return BillingError(
        Reason.NOT_FOUND, f"There is no {what} {id_}; see `{what.replace(' ', '-')}s list`."
    )
