"""Inviting a customer: what is recorded, the secret in the link, and how an invitation ends.

Longer than others: all that an invitation is stands together.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from server.domain import ids
from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.contacts import NO_DETAILS, ContactDetails
from server.domain.customers import NO_LABELS, Customer, CustomerState, operation_on
from server.domain.errors import BillingError, Reason
from server.domain.filters import Filter, Value
from server.domain.invitation_options import NO_OPTIONS, DeliveryMethod, InvitationOptions
from server.domain.mail import EmailDelivery
from server.domain.operations import Failure, Operation, OperationKind


class InvitationState(StrEnum):
    """Where an invitation stands. Only a pending one is open."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


class InvitationAction(StrEnum):
    """What can be done to an invitation: by the invitee, by the reseller, by time."""

    ACCEPT = "accept"
    DECLINE = "decline"
    RESEND = "resend"
    CORRECT = "correct"
    REVOKE = "revoke"
    CREATE_LINK = "create_link"
    EXPIRE = "expire"


_S, _A = InvitationState, InvitationAction

# What each action makes of an invitation in each state; what is not here is refused. An action
# whose outcome is there already changes nothing, so that repeating it is safe.
TRANSITIONS: Mapping[InvitationState, Mapping[InvitationAction, InvitationState]] = {
    _S.PENDING: {
        _A.ACCEPT: _S.ACCEPTED,
        _A.DECLINE: _S.DECLINED,
        _A.RESEND: _S.PENDING,
        _A.CORRECT: _S.PENDING,
        _A.CREATE_LINK: _S.PENDING,
        _A.REVOKE: _S.REVOKED,
        _A.EXPIRE: _S.EXPIRED,
    },
    _S.ACCEPTED: {_A.ACCEPT: _S.ACCEPTED},
    _S.DECLINED: {_A.DECLINE: _S.DECLINED},
    _S.REVOKED: {_A.REVOKE: _S.REVOKED},
    _S.EXPIRED: {_A.EXPIRE: _S.EXPIRED},
}

# The customer's state that goes with each of the invitation's, as long as nothing else changes it.
CUSTOMER_STATES: Mapping[InvitationState, CustomerState] = {
    _S.PENDING: CustomerState.ACCEPTANCE_REQUIRED,
    _S.ACCEPTED: CustomerState.ACTIVE,
    _S.DECLINED: CustomerState.INACTIVE,
    _S.REVOKED: CustomerState.INACTIVE,
    _S.EXPIRED: CustomerState.INACTIVE,
}

# Links that an invitation may have from one sending to the next. Each try of an e-mail has one, some
# 250 in five days; the rest are those that a reseller makes.
MOST_LINKS = 300
# An e-mail that was answered had arrived.
ANSWERED = frozenset({_S.ACCEPTED, _S.DECLINED})

# Earlier ones have one digit in front, or none.
_LINK_TOKEN = re.compile(r"(?:[0-9a-v]{4}|[0-9a-v])?[A-Za-z0-9_-]{32}")


class Invitation(NamedTuple):
    """`email` is the address in normal form; `operation_id` made it.

    `customer_state` is None once the customer is taken back. `delivery` is how its e-mail stands; None
    until its first one has gone out, or for want of one.
    A record's state may be overtaken by time: `as_of` tells.
    """

    id: str
    reseller_id: str
    customer_id: str
    operation_id: str
    email: str
    state: InvitationState
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    resent_at: datetime | None
    customer_state: CustomerState | None = CustomerState.ACCEPTANCE_REQUIRED
    delivery: EmailDelivery | None = None
    options: InvitationOptions = NO_OPTIONS

    def value_of(self, field: str) -> Value | None:
        """Returns what a filter compares; the address as `address_key` has it."""
        match field:
            case "state":
                return self.state
            case "email":
                return address_key(self.email)
            case "customer":
                return self.customer_id
            case "delivery.state":
                return self.delivery and self.delivery.state
            case "createTime":
                return self.created_at
            case "expireTime":
                return self.expires_at
            case "endTime":
                return self.ended_at
            case "resendTime":
                return self.resent_at
        raise LookupError(f"invitations have no field {field}")


class InvitationList(NamedTuple):
    """Which invitations of a reseller to list, and in which order.

    filter_: a condition on what `Invitation.value_of` returns.
    """

    reseller_id: str
    filter_: Filter | None = None
    oldest_first: bool = False


class InvitationView(NamedTuple):
    """An invitation as its invitee sees it: with the names of who invites whom.

    `return_uri` is where the page may lead after the answer, "" for nowhere. `replaced` tells that a
    newer e-mail has replaced the link, which holds no longer. While the reseller is suspended or
    removed it is `held`: it can't be answered. `contact` is the reseller's address for questions, if it
    has one, and `details` say who else can be asked.
    """

    invitation: Invitation
    reseller_name: str
    customer_name: str
    replaced: bool = False
    held: bool = False
    contact: str | None = None
    details: ContactDetails = NO_DETAILS
    return_uri: str = ""


class NewInvitation(NamedTuple):
    """All that one Invite records, in one transaction."""

    operation: Operation
    customer: Customer
    invitation: Invitation
    actor: Actor


def invite(
    *,
    reseller_id: str,
    name: str,
    email: str,
    person: dict[str, str],
    actor: Actor,
    now: datetime,
    lifetime: timedelta,
    options: InvitationOptions = NO_OPTIONS,
    external_id: str | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> NewInvitation:
    """Makes the records of an invitation, whose IDs end alike. `email` is in normal form.

    `lifetime` is for one whose options set none. The operation of one that no e-mail is sent for is
    over as soon as it is durable.
    """
    ending = ids.new_ending()
    customer = Customer(
        id=ids.CUSTOMER + ending,
        reseller_id=reseller_id,
        billing_account_id=ids.BILLING_ACCOUNT + ending,
        name=name,
        person=person,
        email=email,
        state=CustomerState.ACCEPTANCE_REQUIRED,
        created_at=now,
        modified_at=now,
        external_id=external_id,
        labels=dict(labels),
    )
    operation = operation_on(
        customer,
        ids.OPERATION + ending,
        OperationKind.INVITE,
        actor.subject,
        now,
        done=options.method is DeliveryMethod.LINK,
    )
    invitation = Invitation(
        id=ids.INVITATION + ending,
        reseller_id=reseller_id,
        customer_id=customer.id,
        operation_id=operation.id,
        email=email,
        state=InvitationState.PENDING,
        created_at=now,
        expires_at=now + (options.lifetime or lifetime),
        ended_at=None,
        resent_at=None,
        options=options,
    )
    return NewInvitation(operation, customer, invitation, actor)


def as_of(invitation: Invitation, now: datetime) -> Invitation:
    """Returns the invitation as it is at the time: a pending one that has lapsed is expired."""
    state = state_at(invitation.state, invitation.expires_at, now)
    if state is invitation.state:
        return invitation
    customer_state = invitation.customer_state
    if customer_state is CustomerState.ACCEPTANCE_REQUIRED:
        customer_state = CUSTOMER_STATES[state]
    return invitation._replace(
        state=state, ended_at=invitation.expires_at, customer_state=customer_state
    )


def state_at(state: InvitationState, expires_at: datetime, now: datetime) -> InvitationState:
    """Returns the state that a recorded one has become by time."""
    lapsed = state is InvitationState.PENDING and expires_at <= now
    return InvitationState.EXPIRED if lapsed else state


def state_after(action: InvitationAction, state: InvitationState) -> InvitationState:
    """Returns the state that an action leads to; raises INVITATION_STATE, with metadata `state`."""
    after = TRANSITIONS[state].get(action)
    if after is None:
        raise BillingError(
            Reason.INVITATION_STATE,
            f"The invitation's state is {state.name}: {_REFUSALS[action]}.",
            metadata={"state": state.name},
        )
    return after


_REFUSALS: Mapping[InvitationAction, str] = {
    _A.ACCEPT: "it can't be accepted",
    _A.DECLINE: "it can't be declined",
    _A.RESEND: "it can't be sent again; invite anew",
    _A.CORRECT: "its address can't be changed; invite anew",
    _A.REVOKE: "it can't be revoked",
    _A.CREATE_LINK: "no link to it can be made; invite anew",
    _A.EXPIRE: "it can't expire",
}


def unsent(state: InvitationState) -> Failure:
    """Returns why an operation failed whose invitation ended before its e-mail had gone out."""
    return Failure(
        Reason.INVITATION_STATE,
        f"The invitation's state is {state.name}: its e-mail is not sent.",
        {"state": state.name},
    )


def held_by_reseller() -> BillingError:
    """Returns the refusal to answer an invitation whose reseller is suspended or removed."""
    return BillingError(
        Reason.INVITATION_HELD,
        "Whoever invites you may not do so at present, so the invitation can't be answered. If that "
        "ends before the invitation does, the link works again.",
    )


def resend(
    customer: Customer,
    *,
    resent_by: str,
    now: datetime,
    method: DeliveryMethod = DeliveryMethod.EMAIL,
) -> Operation:
    """Makes the record of the operation that sends an invitation's e-mail again.

    Where none is sent it is over as soon as it is durable.
    """
    id_ = ids.new_id(ids.OPERATION)
    done = method is DeliveryMethod.LINK
    return operation_on(customer, id_, OperationKind.RESEND, resent_by, now, done=done)


def link_shown_once() -> BillingError:
    """Returns the refusal to repeat a call that has made a link."""
    return BillingError(
        Reason.LINK_SHOWN_ONCE,
        "The call with this Idempotency-Key has made a link, which is shown in its own answer alone. "
        "If that was lost, make another with a new key; both hold.",
    )


def link_limit_reached() -> BillingError:
    """Returns the refusal of a link beyond MOST_LINKS."""
    return BillingError(
        Reason.LINK_LIMIT_REACHED,
        f"The limit of {MOST_LINKS} links of one invitation is reached; hand out one of those, or send "
        "the invitation again, which ends them.",
        metadata={"limit": "LINKS_PER_INVITATION", "most": str(MOST_LINKS)},
    )


def resent_too_soon(retry_after_s: float) -> BillingError:
    """Returns the refusal to send an e-mail right after the one before it."""
    return BillingError(
        Reason.RESENT_TOO_SOON,
        "The invitation has just been sent; try again later.",
        retry_after_s=retry_after_s,
    )


def mail_under_way(operation_id: str) -> BillingError:
    """Returns the refusal of what can't be done while a worker is at the invitation's e-mail."""
    return BillingError(
        Reason.MAIL_UNDER_WAY,
        "The invitation's e-mail is on its way; try again in a moment.",
        metadata={"operationId": operation_id},
        retry_after_s=1.0,  # how soon it may have left
    )


def new_link_token() -> str:
    """Returns a fresh secret for the link in an e-mail: digits of the time, and 192 random bits."""
    return ids.time_prefix() + secrets.token_urlsafe(24)


def is_link_token(text: str) -> bool:
    """Tells whether the text has the form of a link's secret; costs the same for any length."""
    return _LINK_TOKEN.fullmatch(text) is not None


def link_token_hash(token: str) -> bytes:
    """Returns what the database keeps of a link's secret: the digits, if any, and a digest."""
    return token[:-32].encode() + hashlib.sha256(token.encode()).digest()
