"""What happened: the log of each reseller, which everybody reads in one order."""

import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from server.domain import ids
from server.domain.access import Actor, RoleBinding
from server.domain.customers import Customer
from server.domain.errors import BillingError, Reason, invalid_field
from server.domain.filters import Value
from server.domain.invitations import Invitation
from server.domain.mail import DeliveryError
from server.domain.webhooks import Webhook


class EventType(StrEnum):
    """What can happen. Names are never changed and never used again."""

    CUSTOMER_INVITED = "customer.invited"
    CUSTOMER_CREATED = "customer.created"
    CUSTOMER_UPDATED = "customer.updated"
    CUSTOMER_ACTIVATED = "customer.activated"
    CUSTOMER_SUSPENDED = "customer.suspended"
    CUSTOMER_DELETED = "customer.deleted"
    CUSTOMER_UNDELETED = "customer.undeleted"
    CUSTOMER_ERASED = "customer.erased"
    INVITATION_SENT = "invitation.sent"
    INVITATION_UNDELIVERABLE = "invitation.undeliverable"
    INVITATION_BOUNCED = "invitation.bounced"
    INVITATION_REMINDED = "invitation.reminded"
    INVITATION_EXPIRING = "invitation.expiring"
    INVITATION_RENEWAL_REQUESTED = "invitation.renewal_requested"
    INVITATION_LINK_CREATED = "invitation.link_created"
    INVITATION_UPDATED = "invitation.updated"
    INVITATION_CANCELLED = "invitation.cancelled"
    INVITATION_RESENT = "invitation.resent"
    INVITATION_ACCEPTED = "invitation.accepted"
    INVITATION_DECLINED = "invitation.declined"
    INVITATION_REVOKED = "invitation.revoked"
    INVITATION_EXPIRED = "invitation.expired"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_UPDATED = "webhook.updated"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"
    ACCESS_GRANTED = "access.granted"
    ACCESS_REVOKED = "access.revoked"


class Event(NamedTuple):
    """Something that happened to what a reseller has.

    `number` is its place in the reseller's log: 1, 2, 3 and on. `data` is the thing right after the
    change. Where an e-mail can't be sent, or was cancelled, and the customer is taken back with its
    invitation, `data` is the invitation as it was last, with `customer_state` None; `problem` is the
    operation's error then, None for all else. `traceparent` is the W3C trace context of the call that
    brought it about, where traces are made.
    """

    reseller_id: str
    number: int
    type: EventType
    created_at: datetime
    actor: Actor
    customer_id: str | None
    operation_id: str | None
    data: Customer | Invitation | Webhook | RoleBinding
    problem: DeliveryError | None = None
    traceparent: str | None = None

    @property
    def id(self) -> str:
        """The ID, which grows with the number."""
        return event_id(self.reseller_id, self.number)

    @property
    def invitation_id(self) -> str | None:
        """The ID of the invitation that it is about."""
        if isinstance(self.data, Invitation):
            return self.data.id
        if self.type is EventType.CUSTOMER_INVITED and self.customer_id:
            return ids.INVITATION + self.customer_id[len(ids.CUSTOMER) :]  # made together
        return None

    def value_of(self, field: str) -> Value | None:
        """Returns what a filter compares: `type`, `customer` (an ID), `createTime`, `actor.subject`."""
        match field:
            case "type":
                return self.type
            case "customer":
                return self.customer_id
            case "createTime":
                return self.created_at
            case "actor.subject":
                return self.actor.subject
        raise LookupError(f"events have no field {field}")


_ID = re.compile(r"evt([0-9]{12})([0-9a-v]{8})")
_DIGITS = "0123456789abcdefghijklmnopqrstuv"


def event_id(reseller_id: str, number: int) -> str:
    """Returns the ID of an event: its number in 12 digits, and 8 characters that are the reseller's.

    So IDs of one reseller sort as text, and no two resellers have one in common. Number 0 is the
    place before the first event.
    """
    return f"evt{number:012d}{_ending(reseller_id)}"


def event_number(reseller_id: str, id_: str) -> int | None:
    """Returns the number in an ID; None for what is no ID of this reseller's."""
    found = _ID.fullmatch(id_)
    return int(found[1]) if found and found[2] == _ending(reseller_id) else None


def require_within_log(
    reseller_id: str, after: int, cleared: int, last: int, field: str = "after"
) -> None:
    """Raises what speaks against reading on after an event: EVENTS_GONE, or FIELDS_INVALID for the field.

    `cleared` is the last event that is no longer kept, `last` the last one there is.
    """
    if after < cleared:
        raise events_gone(reseller_id, cleared)
    if after > last:
        raise invalid_field(field, "There is no such event yet; check the ID.")


def events_gone(reseller_id: str, cleared: int) -> BillingError:
    """Returns the refusal of what is no longer kept: the events up to a number."""
    return BillingError(
        Reason.EVENTS_GONE,
        "Events after this one are no longer kept. To read on from the oldest that is, send the "
        "`after` of this error's metadata; what you have missed, the lists of customers and "
        "invitations show.",
        metadata={
            "oldest": event_id(reseller_id, cleared + 1),
            "after": event_id(reseller_id, cleared),
        },
    )


def _ending(reseller_id: str) -> str:
    bits = int.from_bytes(hashlib.sha256(reseller_id.encode()).digest()[:5])
    return "".join(_DIGITS[bits >> shift & 31] for shift in range(0, 40, 5))
