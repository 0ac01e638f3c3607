"""Resellers, and who may act for them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, literal, select, update

from server.domain.access import Role, Subject
from server.domain.errors import BillingError, Reason
from server.storage.schema import access_tokens, resellers, role_bindings
from server.storage.statements import IDS, Insert, Statement, Transaction

_SUBJECTS = Statement(
    select(
        access_tokens.c.token_hash,
        access_tokens.c.subject_id,
        access_tokens.c.expires_at,
        role_bindings.c.reseller_id,
        role_bindings.c.role,
    )
    .join_from(
        access_tokens,
        role_bindings,
        role_bindings.c.subject_id == access_tokens.c.subject_id,
        isouter=True,
    )
    .where(access_tokens.c.token_hash.in_(IDS))
)
_RESELLERS = Statement(select(resellers.c.id).where(resellers.c.id.in_(IDS)))
_RENAME = Statement(
    update(resellers)
    .where(resellers.c.id.in_(IDS))
    .values(name=bindparam("name"), modified_at=bindparam("now")),
    "name",
    "now",
)
_ROLES = Statement(
    select(role_bindings.c.reseller_id, role_bindings.c.role).where(
        role_bindings.c.subject_id.in_(IDS)
    )
)
_TOKENS = Statement(select(access_tokens.c.subject_id).where(access_tokens.c.token_hash.in_(IDS)))
_MOVE_TOKEN = Statement(
    update(access_tokens)
    .where(access_tokens.c.token_hash.in_(IDS))
    .values(subject_id=bindparam("subject_id"), expires_at=bindparam("expires_at")),
    "subject_id",
    "expires_at",
)
PING = Statement(select(literal(1)))
_INSERT_RESELLERS = Insert(resellers)
_INSERT_ROLES = Insert(role_bindings)
_INSERT_TOKENS = Insert(access_tokens)


class Reseller(NamedTuple):
    """A reseller to add or rename."""

    id: str
    name: str
    now: int


class Grant(NamedTuple):
    """A role to give."""

    subject_id: str
    reseller_id: str
    role: Role
    now: int


class Token(NamedTuple):
    """An access token to add."""

    hash: bytes
    subject_id: str
    now: int
    expires_at: int | None


def subjects(transaction: Transaction, batch: Sequence[tuple[bytes, int]]) -> list[Subject | None]:
    """Returns who holds the tokens at the times; see Storage.get_subject."""
    found: dict[bytes, tuple[str, int | None, dict[str, set[Role]]]] = {}
    wanted = list({token_hash for token_hash, _ in batch})
    for token_hash, subject_id, expires_at, reseller_id, role in transaction.fetch(
        _SUBJECTS, wanted
    ):
        _, _, roles = found.setdefault(bytes(token_hash), (subject_id, expires_at, {}))
        if reseller_id is not None:
            roles.setdefault(reseller_id, set()).add(Role(role))
    outcomes: list[Subject | None] = []
    for token_hash, now in batch:
        holder = found.get(token_hash)
        if holder is None or (holder[1] is not None and holder[1] <= now):
            outcomes.append(None)
        else:
            subject_id, _, roles = holder
            outcomes.append(
                Subject(
                    subject_id, {reseller: frozenset(names) for reseller, names in roles.items()}
                )
            )
    return outcomes


def add_resellers(transaction: Transaction, batch: Sequence[Reseller]) -> list[None]:
    """Adds or renames resellers."""
    for reseller in batch:
        if transaction.fetch(_RESELLERS, [reseller.id]):
            transaction.run(_RENAME, [reseller.id], name=reseller.name, now=reseller.now)
        else:
            transaction.insert(
                _INSERT_RESELLERS, [(reseller.id, reseller.name, reseller.now, reseller.now)]
            )
    return [None] * len(batch)


def grant_roles(transaction: Transaction, batch: Sequence[Grant]) -> list[Exception | None]:
    """Gives roles to subjects. Refuses an unknown reseller with NOT_FOUND."""
    outcomes: list[Exception | None] = []
    for grant in batch:
        if not transaction.fetch(_RESELLERS, [grant.reseller_id]):
            outcomes.append(
                BillingError(Reason.NOT_FOUND, f"There is no reseller {grant.reseller_id}.")
            )
            continue
        held = transaction.fetch(_ROLES, [grant.subject_id])
        if (grant.reseller_id, grant.role) not in held:
            transaction.insert(_INSERT_ROLES, [tuple(grant)])
        outcomes.append(None)
    return outcomes


def add_tokens(transaction: Transaction, batch: Sequence[Token]) -> list[None]:
    """Adds access tokens; one that is known already gets its subject and expiry anew."""
    for token in batch:
        if transaction.fetch(_TOKENS, [token.hash]):
            transaction.run(
                _MOVE_TOKEN,
                [token.hash],
                subject_id=token.subject_id,
                expires_at=token.expires_at,
            )
        else:
            transaction.insert(
                _INSERT_TOKENS, [(token.hash, token.subject_id, token.now, token.expires_at)]
            )
    return [None] * len(batch)
