"""Who is calling, and what they may do: the look-ups on the path of a call."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import literal, select

from server.domain.access import AccountKey, Proof, ResellerState, Role, Subject
from server.storage.rows import time
from server.storage.schema import (
    access_tokens,
    account_keys,
    resellers,
    revoked_tokens,
    role_bindings,
    service_accounts,
)
from server.storage.statements import IDS, Statement, Transaction

_HOLDERS = Statement(
    select(
        access_tokens.c.token_hash, access_tokens.c.subject_id, access_tokens.c.expires_at
    ).where(access_tokens.c.token_hash.in_(IDS))
)
_ROLES = Statement(
    select(
        *(role_bindings.c[name] for name in ("subject_id", "reseller_id", "role")),
        resellers.c.suspended_at,
        resellers.c.removed_at,
    )
    .join_from(role_bindings, resellers, resellers.c.id == role_bindings.c.reseller_id)
    .where(role_bindings.c.subject_id.in_(IDS))
)
_REVOKED = Statement(
    select(revoked_tokens.c.token_hash).where(revoked_tokens.c.token_hash.in_(IDS))
)
_OWNERS = Statement(
    select(account_keys.c.id, account_keys.c.service_account_id).where(account_keys.c.id.in_(IDS))
)
_ACCOUNTS = Statement(select(service_accounts.c.id).where(service_accounts.c.id.in_(IDS)))
KEYS = Statement(select(*account_keys.c).where(account_keys.c.id.in_(IDS)))
PING = Statement(select(literal(1)))


def token_holders(
    transaction: Transaction, batch: Sequence[tuple[bytes, int]]
) -> list[Subject | None]:
    """Returns who holds the access tokens at the times; see Storage.get_subject."""
    hashes = list({token_hash for token_hash, _ in batch})
    holders = {
        bytes(token_hash): (subject_id, expires_at)
        for token_hash, subject_id, expires_at in transaction.fetch(_HOLDERS, hashes)
    }
    found = _subjects(transaction, (subject_id for subject_id, _ in holders.values()))
    outcomes: list[Subject | None] = []
    for token_hash, now in batch:
        subject_id, expires_at = holders.get(token_hash, ("", None))
        held = subject_id and (expires_at is None or expires_at > now)
        outcomes.append(found[subject_id] if held else None)
    return outcomes


def proven(transaction: Transaction, batch: Sequence[Proof]) -> list[Subject | None]:
    """Returns the subjects of proofs that still hold; see Storage.get_proven_subject."""
    revoked = {
        bytes(token_hash)
        for (token_hash,) in transaction.fetch(
            _REVOKED, list({proof.token_hash for proof in batch})
        )
    }
    key_ids = {proof.key_id for proof in batch if proof.key_id is not None}
    owners = dict(transaction.fetch(_OWNERS, list(key_ids))) if key_ids else {}
    outside_ids = {proof.subject_id for proof in batch if proof.key_id is None}
    # An outside issuer can't speak for an account of ours, whatever it calls its subjects.
    taken = (
        {account_id for (account_id,) in transaction.fetch(_ACCOUNTS, list(outside_ids))}
        if outside_ids
        else set()
    )
    found = _subjects(transaction, (proof.subject_id for proof in batch))
    outcomes: list[Subject | None] = []
    for proof in batch:
        if proof.key_id is None:
            holds = proof.subject_id not in taken
        else:
            holds = owners.get(proof.key_id) == proof.subject_id
        holds = holds and proof.token_hash not in revoked
        outcomes.append(found[proof.subject_id] if holds else None)
    return outcomes


def get_keys(transaction: Transaction, batch: Sequence[str]) -> list[AccountKey | None]:
    """Returns service accounts' keys by ID."""
    found = {row[0]: account_key(row) for row in transaction.fetch(KEYS, list(set(batch)))}
    return [found.get(key_id) for key_id in batch]


def account_key(row: tuple[Any, ...]) -> AccountKey:
    """Returns the key in a row of `account_keys`."""
    id_, service_account_id, algorithm, public_key, created_at = row
    return AccountKey(id_, service_account_id, algorithm, public_key, time(created_at))


def _subjects(transaction: Transaction, subject_ids: Iterable[str]) -> dict[str, Subject]:
    roles: dict[str, dict[str, set[Role]]] = {subject_id: {} for subject_id in subject_ids}
    held: dict[str, ResellerState] = {}
    if roles:
        for subject_id, reseller_id, role, *times in transaction.fetch(_ROLES, list(roles)):
            roles[subject_id].setdefault(reseller_id, set()).add(Role(role))
            state = reseller_state(*times)
            if state is not ResellerState.ACTIVE:
                held[reseller_id] = state
    return {
        subject_id: Subject(
            subject_id,
            {reseller: frozenset(names) for reseller, names in given.items()},
            {reseller: held[reseller] for reseller in given if reseller in held},
        )
        for subject_id, given in roles.items()
    }


def reseller_state(suspended_at: int | None, removed_at: int | None) -> ResellerState:
    """Returns what a row of `resellers` says."""
    if removed_at is not None:
        return ResellerState.REMOVED
    return ResellerState.ACTIVE if suspended_at is None else ResellerState.SUSPENDED
