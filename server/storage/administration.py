"""Changes of resellers, accounts, keys and roles, each with its audit record."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import NamedTuple, TypeVar

from sqlalchemy import Table, and_, bindparam, delete, select, update

from server.domain import ids
from server.domain.access import AccountKey, AuditRecord, Role
from server.domain.errors import BillingError, Reason
from server.os_user import os_user
from server.storage.access import KEYS
from server.storage.deliveries import hold, release
from server.storage.rows import microseconds
from server.storage.schema import (
    access_tokens,
    account_keys,
    audit_records,
    resellers,
    role_bindings,
    service_accounts,
)
from server.storage.signals import ACCESS
from server.storage.statements import IDS, Insert, Statement, Transaction

A = TypeVar("A")
R = TypeVar("R")

_RESELLERS = Statement(
    select(resellers.c.name, resellers.c.suspended_at, resellers.c.removed_at)
    .where(resellers.c.id.in_(IDS))
    .with_for_update()
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
_ACCOUNTS = Statement(
    select(service_accounts.c.name).where(service_accounts.c.id.in_(IDS)).with_for_update()
)
_RENAME_ACCOUNT = Statement(
    update(service_accounts).where(service_accounts.c.id.in_(IDS)).values(name=bindparam("name")),
    "name",
)
_ROLE = and_(
    role_bindings.c.subject_id.in_(IDS),
    role_bindings.c.reseller_id == bindparam("reseller_id"),
    role_bindings.c.role == bindparam("role"),
)
_HELD = Statement(select(role_bindings.c.role).where(_ROLE), "reseller_id", "role")
_ANY_ROLES = Statement(
    select(role_bindings.c.role).where(role_bindings.c.subject_id.in_(IDS)).limit(1)
)
_TAKE_ROLE = Statement(delete(role_bindings).where(_ROLE), "reseller_id", "role")


def _deletion(table: Table, column: str) -> Statement:
    return Statement(delete(table).where(table.c[column].in_(IDS)))


_DELETE_RESELLER_ROLES = _deletion(role_bindings, "reseller_id")
_DELETE_ACCOUNT_ROW = _deletion(service_accounts, "id")
_DELETE_ACCOUNT = [
    _deletion(role_bindings, "subject_id"),
    _deletion(access_tokens, "subject_id"),
    _deletion(account_keys, "service_account_id"),
    _DELETE_ACCOUNT_ROW,
]
_DELETE_KEY = _deletion(account_keys, "id")
_INSERT_RESELLERS = Insert(resellers)
_INSERT_ACCOUNTS = Insert(service_accounts)
_INSERT_KEYS = Insert(account_keys)
_INSERT_ROLES = Insert(role_bindings)
_INSERT_AUDIT = Insert(audit_records)


class Named(NamedTuple):
    """A reseller or service account to add or rename, or (without a name) to remove."""

    id: str
    name: str
    now: int
    by: str


class Binding(NamedTuple):
    """A role to give or to take."""

    subject_id: str
    reseller_id: str
    role: Role
    now: int
    by: str


class KeyChange(NamedTuple):
    """A key to add."""

    key: AccountKey
    by: str


def one_by_one(
    step: Callable[[Transaction, A], R],
) -> Callable[[Transaction, Sequence[A]], list[R | Exception]]:
    """Makes a bulk function of one that refuses before it changes anything."""

    @wraps(step)
    def bulk(transaction: Transaction, batch: Sequence[A]) -> list[R | Exception]:
        outcomes: list[R | Exception] = []
        for argument in batch:
            try:
                outcomes.append(step(transaction, argument))
            except BillingError as refusal:
                outcomes.append(refusal)
        return outcomes

    return bulk


@one_by_one
def put_reseller(transaction: Transaction, reseller: Named) -> None:
    """Adds or renames."""
    id_, name, now, by = reseller
    for before, suspended_at, removed_at in transaction.fetch(_RESELLERS, [id_]):
        if (before, removed_at) == (name, None):
            return
        if removed_at is not None:
            transaction.run(_DELETE_RESELLER_ROLES, [id_])
            if suspended_at is None:
                release(transaction, id_, now)
        transaction.run(_RENAME_RESELLER, [id_], name=name, now=now)
        break
    else:
        transaction.insert(_INSERT_RESELLERS, [(id_, name, now, now, None, None, None)])
    _record(transaction, now, by, "resellers.add", id_, name)


@one_by_one
def remove_reseller(transaction: Transaction, reseller: Named) -> bool:
    """Removes it and holds its e-mails; its row stays for what it has invited."""
    id_, _, now, by = reseller
    if not _reseller_exists(transaction, id_):
        return False
    transaction.run(_REMOVE_RESELLER, [id_], now=now)
    hold(transaction, id_)
    _record(transaction, now, by, "resellers.remove", id_, "")
    return True


@one_by_one
def set_contact(transaction: Transaction, reseller: Named) -> None:
    """Sets the address given as the name; refuses an unknown reseller with NOT_FOUND."""
    id_, contact, now, by = reseller
    if not _reseller_exists(transaction, id_):
        raise _unknown("reseller", id_)
    transaction.run(_SET_CONTACT, [id_], contact=contact or None, now=now)
    _record(transaction, now, by, "resellers.contact", id_, "set" if contact else "removed")


@one_by_one
def suspend_reseller(transaction: Transaction, reseller: Named) -> bool:
    """Suspends it and holds its e-mails; tells if it was not before."""
    id_, _, now, by = reseller
    if _is_suspended(transaction, id_):
        return False
    transaction.run(_SUSPEND_RESELLER, [id_], at=now)
    hold(transaction, id_)
    _record(transaction, now, by, "resellers.suspend", id_, "")
    return True


@one_by_one
def resume_reseller(transaction: Transaction, reseller: Named) -> bool:
    """Lets it go on; tells if it was suspended."""
    id_, _, now, by = reseller
    if not _is_suspended(transaction, id_):
        return False
    transaction.run(_SUSPEND_RESELLER, [id_], at=None)
    release(transaction, id_, now)
    _record(transaction, now, by, "resellers.resume", id_, "")
    return True


@one_by_one
def put_account(transaction: Transaction, account: Named) -> None:
    """Adds or renames; refuses one whose ID is an outside subject's with FIELDS_INVALID."""
    id_, name, now, by = account
    found = transaction.fetch(_ACCOUNTS, [id_])
    if found == [(name,)]:
        return
    if found:
        transaction.run(_RENAME_ACCOUNT, [id_], name=name)
    else:
        # The row first, then the look: whoever grants one meanwhile has the ID until the commit.
        transaction.insert(_INSERT_ACCOUNTS, [(id_, name, now)])
        if transaction.fetch(_ANY_ROLES, [id_]):
            transaction.run(_DELETE_ACCOUNT_ROW, [id_])
            raise BillingError(
                Reason.FIELDS_INVALID,
                f"{id_} has roles already, granted to the outside issuer's subject of that name, "
                "which would become the account's: choose another ID, or revoke them first.",
            )
    _record(transaction, now, by, "service-accounts.add", id_, name)


@one_by_one
def remove_account(transaction: Transaction, account: Named) -> bool:
    """Removes it with its keys, roles and access tokens."""
    id_, _, now, by = account
    if not transaction.fetch(_ACCOUNTS, [id_]):
        return False
    for statement in _DELETE_ACCOUNT:
        transaction.run(statement, [id_])
    _record(transaction, now, by, "service-accounts.remove", id_, "")
    return True


@one_by_one
def add_key(transaction: Transaction, change: KeyChange) -> None:
    """Adds a key; refuses an unknown account with NOT_FOUND."""
    key, by = change
    if not transaction.fetch(_ACCOUNTS, [key.service_account_id]):
        raise _unknown("service account", key.service_account_id)
    now = microseconds(key.created_at)
    transaction.insert(
        _INSERT_KEYS, [(key.id, key.service_account_id, key.algorithm, key.public_key, now)]
    )
    details = f"service account {key.service_account_id}"
    _record(transaction, now, by, "keys.add", key.id, details)


@one_by_one
def remove_key(transaction: Transaction, key: Named) -> bool:
    """Removes a key: what was got with it ceases to hold."""
    id_, _, now, by = key
    found = transaction.fetch(KEYS, [id_])
    if not found:
        return False
    transaction.run(_DELETE_KEY, [id_])
    _record(transaction, now, by, "keys.remove", id_, f"service account {found[0][1]}")
    return True


@one_by_one
def grant_role(transaction: Transaction, binding: Binding) -> bool:
    """Gives a role, tells if it is new; refuses an unknown reseller with NOT_FOUND."""
    subject_id, reseller_id, role, now, by = binding
    if not _reseller_exists(transaction, reseller_id):
        raise _unknown("reseller", reseller_id)
    if transaction.fetch(_HELD, [subject_id], reseller_id=reseller_id, role=role.value):
        return False
    if not transaction.fetch(_ACCOUNTS, [subject_id]):
        # It is an outside subject: until the commit nobody makes an account with its ID, which would
        # get the role.
        transaction.insert(_INSERT_ACCOUNTS, [(subject_id, "", now)])
        transaction.run(_DELETE_ACCOUNT_ROW, [subject_id])
    transaction.insert(_INSERT_ROLES, [(subject_id, reseller_id, role.value, now)])
    _record(transaction, now, by, "roles.grant", subject_id, f"{role} for {reseller_id}")
    return True


@one_by_one
def revoke_role(transaction: Transaction, binding: Binding) -> bool:
    """Takes a role, tells if it was held."""
    subject_id, reseller_id, role, now, by = binding
    values = {"reseller_id": reseller_id, "role": role.value}
    if not transaction.fetch(_HELD, [subject_id], **values):
        return False
    transaction.run(_TAKE_ROLE, [subject_id], **values)
    _record(transaction, now, by, "roles.revoke", subject_id, f"{role} for {reseller_id}")
    return True


@one_by_one
def record(transaction: Transaction, entry: AuditRecord) -> None:
    """Records a change that was made elsewhere."""
    _record(
        transaction,
        microseconds(entry.at),
        entry.actor,
        entry.action,
        entry.target,
        entry.details,
    )


def _reseller_exists(transaction: Transaction, reseller_id: str) -> bool:
    rows = transaction.fetch(_RESELLERS, [reseller_id])
    return any(removed_at is None for _, _, removed_at in rows)


def _is_suspended(transaction: Transaction, reseller_id: str) -> bool:
    """Tells, and keeps others from changing it; refuses an unknown or removed one with NOT_FOUND."""
    for _, suspended_at, removed_at in transaction.fetch(_RESELLERS, [reseller_id]):
        if removed_at is None:
            return suspended_at is not None
    raise _unknown("reseller", reseller_id)


def _record(
    transaction: Transaction, now: int, by: str, action: str, target: str, details: str
) -> None:
    row = (ids.new_id(ids.AUDIT), now, by, action, target, details, os_user())
    transaction.insert(_INSERT_AUDIT, [row])
    transaction.ended.append(ACCESS)


def _unknown(what: str, id_: str) -> BillingError:
    return BillingError(Reason.NOT_FOUND, f"There is no {what} {id_}.")
