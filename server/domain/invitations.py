"""Inviting a customer: what is recorded, and the secret in the link."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from server.domain import ids
from server.domain.customers import Customer, CustomerState
from server.domain.operations import Operation, OperationKind


class InvitationState(StrEnum):
    """Where an invitation stands. Only a pending one is open."""

    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Invitation:
    """`email` is the address in normal form; `open_key` names what only one open invitation has."""

    id: str
    reseller_id: str
    customer_id: str
    operation_id: str
    email: str
    open_key: bytes
    state: InvitationState
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """All that one Invite records, in one transaction."""

    operation: Operation
    customer: Customer
    invitation: Invitation


def invite(
    *,
    reseller_id: str,
    name: str,
    email: str,
    person: dict[str, str],
    invited_by: str,
    now: datetime,
    lifetime: timedelta,
) -> NewInvitation:
    """Makes the records of an invitation. `email` is in normal form."""
    customer = Customer(
        id=ids.new_id(ids.CUSTOMER),
        reseller_id=reseller_id,
        billing_account_id=ids.new_id(ids.BILLING_ACCOUNT),
        name=name,
        person=person,
        state=CustomerState.ACCEPTANCE_REQUIRED,
        created_at=now,
        modified_at=now,
    )
    operation = Operation(
        id=ids.new_id(ids.OPERATION),
        kind=OperationKind.INVITE,
        reseller_id=reseller_id,
        customer_id=customer.id,
        billing_account_id=customer.billing_account_id,
        created_by=invited_by,
        created_at=now,
        modified_at=now,
        done=False,
    )
    invitation = Invitation(
        id=ids.new_id(ids.INVITATION),
        reseller_id=reseller_id,
        customer_id=customer.id,
        operation_id=operation.id,
        email=email,
        open_key=open_key(reseller_id, email, person.get("tin", "")),
        state=InvitationState.PENDING,
        created_at=now,
        expires_at=now + lifetime,
    )
    return NewInvitation(operation, customer, invitation)


def open_key(reseller_id: str, email: str, tin: str) -> bytes:
    """Names what a reseller has at most one open invitation for: address without case, tax number."""
    text = "\0".join((reseller_id, email.casefold(), tin.strip()))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def new_link_token() -> str:
    """Returns a fresh secret of 192 random bits for the link in an e-mail."""
    return secrets.token_urlsafe(24)


def link_token_hash(token: str) -> bytes:
    """Returns what the database keeps of a link's secret."""
    return hashlib.sha256(token.encode()).digest()
