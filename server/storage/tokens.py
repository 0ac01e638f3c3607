"""Tokens that are kept: long-lived access tokens, and signed ones that were revoked."""

from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import Proof
from server.storage.administration import one_by_one
from server.storage.rows import microseconds
from server.storage.schema import access_tokens, revoked_tokens
from server.storage.signals import ACCESS
from server.storage.statements import IDS, Insert, Statement, Transaction

_TOKENS = Statement(select(access_tokens.c.subject_id).where(access_tokens.c.token_hash.in_(IDS)))
_MOVE_TOKEN = Statement(
    update(access_tokens)
    .where(access_tokens.c.token_hash.in_(IDS))
    .values(subject_id=bindparam("subject_id"), expires_at=bindparam("expires_at")),
    "subject_id",
    "expires_at",
)
_REVOKED = Statement(
    select(revoked_tokens.c.token_hash).where(revoked_tokens.c.token_hash.in_(IDS))
)
_INSERT_TOKENS = Insert(access_tokens)
_INSERT_REVOKED = Insert(revoked_tokens)


class AccessToken(NamedTuple):
    """An access token to add."""

    hash: bytes
    subject_id: str
    now: int
    expires_at: int | None


@one_by_one
def put_token(transaction: Transaction, token: AccessToken) -> None:
    """Adds an access token; one that is known already gets its subject and expiry anew."""
    hash_, subject_id, _, expires_at = token
    if transaction.fetch(_TOKENS, [hash_]):
        transaction.run(_MOVE_TOKEN, [hash_], subject_id=subject_id, expires_at=expires_at)
    else:
        transaction.insert(_INSERT_TOKENS, [tuple(token)])
    transaction.ended.append(ACCESS)


@one_by_one
def end_token(transaction: Transaction, ended: tuple[bytes, int]) -> str | None:
    """Ends an access token; returns whose it was."""
    token_hash, now = ended
    for (subject_id,) in transaction.fetch(_TOKENS, [token_hash]):
        transaction.run(_MOVE_TOKEN, [token_hash], subject_id=subject_id, expires_at=now)
        transaction.ended.append(ACCESS)
        return str(subject_id)
    return None


@one_by_one
def revoke(transaction: Transaction, proof: Proof) -> None:
    """Remembers a token as revoked; `retention` forgets it once it has expired anyway."""
    if not transaction.fetch(_REVOKED, [proof.token_hash]):
        row = (proof.token_hash, microseconds(proof.expires_at))
        transaction.insert(_INSERT_REVOKED, [row])
        transaction.ended.append(ACCESS)
