"""Who is calling, and what they may do: the look-ups on the path of a call."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import select

from server.domain.access import AccountKey, ResellerState, Role, Subject, VerifiedToken
from server.storage.resellers import reseller_state
from server.storage.schema.access_tables import (
    AccountKeyRow,
    access_tokens,
    account_keys,
    revoked_tokens,
    role_bindings,
    service_accounts,
)
from server.storage.schema.tables import KeyId, ResellerId, SubjectId, TokenHash, resellers
from server.storage.sql.statements import IDS, Query, Transaction, columns
from server.storage.sql.times import Micros, from_micros


class TokenUse(NamedTuple):
    """A token, by its hash, as it comes with a call at a time."""

    token_hash: bytes
    now: Micros


class _Holder(NamedTuple):
    token_hash: TokenHash
    subject_id: SubjectId
    expires_at: Micros | None


class _Role(NamedTuple):
    subject_id: SubjectId
    reseller_id: ResellerId
    role: str
    suspended_at: Micros | None
    removed_at: Micros | None


class _Revoked(NamedTuple):
    token_hash: TokenHash


class _Owner(NamedTuple):
    id: KeyId
    service_account_id: SubjectId


class _Account(NamedTuple):
    id: SubjectId


_HOLDERS = Query(
    _Holder,
    select(*columns(access_tokens, _Holder)).where(access_tokens.c.token_hash.in_(IDS)),
)
_ROLES = Query(
    _Role,
    select(
        *(role_bindings.c[name] for name in ("subject_id", "reseller_id", "role")),
        resellers.c.suspended_at,
        resellers.c.removed_at,
    )
    .join_from(role_bindings, resellers, resellers.c.id == role_bindings.c.reseller_id)
    .where(role_bindings.c.subject_id.in_(IDS)),
)
_REVOKED = Query(
    _Revoked, select(revoked_tokens.c.token_hash).where(revoked_tokens.c.token_hash.in_(IDS))
)
_OWNERS = Query(_Owner, select(*columns(account_keys, _Owner)).where(account_keys.c.id.in_(IDS)))
_ACCOUNTS = Query(_Account, select(service_accounts.c.id).where(service_accounts.c.id.in_(IDS)))
KEYS = Query(AccountKeyRow, select(*account_keys.c).where(account_keys.c.id.in_(IDS)))


def token_holders(transaction: Transaction, batch: Sequence[TokenUse]) -> list[Subject | None]:
    """Returns who holds the access tokens at the times; see AccessStorage.get_subject."""
    hashes = list({use.token_hash for use in batch})
    holders: dict[bytes, _Holder] = {
        row.token_hash: row for row in transaction.fetch(_HOLDERS, hashes)
    }
    found = _subjects(transaction, (row.subject_id for row in holders.values()))
    outcomes: list[Subject | None] = []
    for token_hash, now in batch:
        row = holders.get(token_hash)
        held = row and (row.expires_at is None or row.expires_at > now)
        outcomes.append(found[row.subject_id] if row and held else None)
    return outcomes


def proven(transaction: Transaction, batch: Sequence[VerifiedToken]) -> list[Subject | None]:
    """Returns the subjects of proofs that still hold; see AccessStorage.get_proven_subject."""
    hashes = list({proof.token_hash for proof in batch})
    revoked = {row.token_hash for row in transaction.fetch(_REVOKED, hashes)}
    key_ids = list({proof.key_id for proof in batch if proof.key_id is not None})
    owners: dict[str, str] = (
        {row.id: row.service_account_id for row in transaction.fetch(_OWNERS, key_ids)}
        if key_ids
        else {}
    )
    outside_ids = list({proof.subject_id for proof in batch if proof.key_id is None})
    # An outside issuer can't speak for an account of ours, whatever it calls its subjects.
    taken = {row.id for row in transaction.fetch(_ACCOUNTS, outside_ids)} if outside_ids else set()
    found = _subjects(transaction, (proof.subject_id for proof in batch))
    outcomes: list[Subject | None] = []
    for proof in batch:
        if proof.key_id is None:
            holds = proof.subject_id not in taken
        else:
            holds = owners.get(proof.key_id) == proof.subject_id
        holds = holds and proof.token_hash not in revoked
        subject = found[proof.subject_id] if holds else None
        outcomes.append(subject and replace(subject, key_id=proof.key_id))
    return outcomes


def get_keys(transaction: Transaction, batch: Sequence[str]) -> list[AccountKey | None]:
    """Returns service accounts' keys by ID."""
    found: dict[str, AccountKey] = {
        row.id: account_key(row) for row in transaction.fetch(KEYS, list(set(batch)))
    }
    return [found.get(key_id) for key_id in batch]


def account_key(row: AccountKeyRow) -> AccountKey:
    """Returns the key in a row."""
    return AccountKey(
        row.id, row.service_account_id, row.algorithm, row.public_key, from_micros(row.created_at)
    )


def _subjects(transaction: Transaction, subject_ids: Iterable[str]) -> dict[str, Subject]:
    roles: dict[str, dict[str, set[Role]]] = {subject_id: {} for subject_id in subject_ids}
    held: dict[str, ResellerState] = {}
    if roles:
        for row in transaction.fetch(_ROLES, list(roles)):
            roles[row.subject_id].setdefault(row.reseller_id, set()).add(Role(row.role))
            state = reseller_state(row.suspended_at, row.removed_at)
            if state is not ResellerState.ACTIVE:
                held[row.reseller_id] = state
    return {
        subject_id: Subject(
            subject_id,
            {reseller: frozenset(names) for reseller, names in given.items()},
            {reseller: held[reseller] for reseller in given if reseller in held},
        )
        for subject_id, given in roles.items()
    }
