"""Tokens that are kept: long-lived access tokens, and signed ones that were revoked."""

from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from server.domain.access import VerifiedToken
from server.storage.schema.access_tables import (
    AccessTokenRow,
    RevokedTokenRow,
    access_tokens,
    revoked_tokens,
)
from server.storage.schema.tables import SubjectId, TokenHash
from server.storage.sql.statements import IDS, Insert, Query, Statement, Transaction
from server.storage.sql.times import Micros, micros
from server.storage.sql.transactions import one_by_one


class _Holder(NamedTuple):
    subject_id: SubjectId


class _Revoked(NamedTuple):
    token_hash: TokenHash


_TOKENS = Query(
    _Holder, select(access_tokens.c.subject_id).where(access_tokens.c.token_hash.in_(IDS))
)
_MOVE_TOKEN = Statement(
    update(access_tokens)
    .where(access_tokens.c.token_hash.in_(IDS))
    .values(subject_id=bindparam("subject_id"), expires_at=bindparam("expires_at")),
    "subject_id",
    "expires_at",
)
_REVOKED = Query(
    _Revoked, select(revoked_tokens.c.token_hash).where(revoked_tokens.c.token_hash.in_(IDS))
)
_INSERT_TOKENS = Insert(access_tokens, AccessTokenRow)
_INSERT_REVOKED = Insert(revoked_tokens, RevokedTokenRow)


class AccessToken(NamedTuple):
    """An access token to add."""

    hash: bytes
    subject_id: str
    now: Micros
    expires_at: Micros | None


class EndedToken(NamedTuple):
    """An access token to end at a time."""

    hash: bytes
    now: Micros


@one_by_one
def put_token(transaction: Transaction, token: AccessToken) -> None:
    """Adds an access token; one that is known already gets its subject and expiry anew."""
    hash_, subject_id, now, expires_at = token
    if transaction.fetch(_TOKENS, [hash_]):
        transaction.run(_MOVE_TOKEN, [hash_], subject_id=subject_id, expires_at=expires_at)
    else:
        row = AccessTokenRow(TokenHash(hash_), SubjectId(subject_id), now, expires_at)
        transaction.insert(_INSERT_TOKENS, [row])
    transaction.changes_access = True


@one_by_one
def end_token(transaction: Transaction, ended: EndedToken) -> str | None:
    """Ends an access token; returns whose it was."""
    for (subject_id,) in transaction.fetch(_TOKENS, [ended.hash]):
        transaction.run(_MOVE_TOKEN, [ended.hash], subject_id=subject_id, expires_at=ended.now)
        transaction.changes_access = True
        return subject_id
    return None


@one_by_one
def revoke(transaction: Transaction, proof: VerifiedToken) -> None:
    """Remembers a token as revoked; `retention` forgets it once it has expired anyway."""
    if not transaction.fetch(_REVOKED, [proof.token_hash]):
        row = RevokedTokenRow(TokenHash(proof.token_hash), micros(proof.expires_at))
        transaction.insert(_INSERT_REVOKED, [row])
        transaction.changes_access = True
