"""Events from and to rows.

What an event shows is kept as a JSON array, in the order of the functions here; what follows from the
customer's ID is left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

from server.domain import ids
from server.domain.access import Actor, Role, RoleBinding
from server.domain.customers import Customer, CustomerState
from server.domain.events import Event, EventType
from server.domain.invitation_options import NO_OPTIONS, DeliveryMethod
from server.domain.invitations import Invitation
from server.domain.mail import DeliveryError, DeliveryState, EmailDelivery
from server.domain.webhooks import ContentType, Webhook, WebhookState
from server.storage import resellers
from server.storage.customer_rows import CustomerPart, InvitationPart, email_delivery
from server.storage.invitation_options import options_json, read_options
from server.storage.schema.codes import (
    CUSTOMER_STATES,
    EVENT_TYPES,
    INVITATION_STATES,
    CustomerStateCode,
    InvitationStateCode,
)
from server.storage.schema.columns import Code
from server.storage.schema.tables import CustomerRow, EventJson, EventRow
from server.storage.sql.json_texts import from_json, to_json
from server.storage.sql.statements import Transaction
from server.storage.sql.times import Micros, from_micros, from_micros_or_none, micros
from server.telemetry.origins import parts

# The state of a customer that is taken back.
_NONE = 0
# Where an invitation's address, problem and options stand, and a customer's address and external ID.
_INVITATION_EMAIL, _PROBLEM, _OPTIONS = 2, 8, 13
_CUSTOMER_EMAIL, _EXTERNAL_ID = 4, 8


def customer_json(row: CustomerPart | CustomerRow) -> EventJson:
    """Returns what an event shows of a customer."""
    return EventJson(
        to_json(
            [
                *(row.id, row.state, row.name, row.person, row.email),
                *(row.created_at, row.modified_at, row.billing_account_id),
                *(
                    [row.external_id, row.labels]
                    if row.external_id or row.labels or row.deleted_at
                    else ()
                ),
                *([row.deleted_at] if row.deleted_at else ()),
            ]
        )
    )


def invitation_json(
    row: InvitationPart,
    *,
    taken_back_at: Micros | None = None,
    problem: DeliveryError | None = None,
) -> EventJson:
    """Returns what an event shows of an invitation.

    With a time, of one that is taken back with its customer then. `problem` is the event's.
    """
    return EventJson(
        to_json(
            [
                *(row.id, row.invitation, row.email, row.created_at, row.expires_at),
                row.ended_at if taken_back_at is None else taken_back_at,
                row.resent_at,
                row.state if taken_back_at is None else _NONE,
                problem or "",
                *(row.invitation_id, row.operation_id, row.delivery, row.sent),
                *([row.options] if row.options else ()),
            ]
        )
    )


def shows_invitation(data: EventJson, row: InvitationPart) -> bool:
    """Tells whether an event shows an invitation as it is, its problem aside.

    Events of earlier releases show less.
    """
    values = from_json(data)
    if len(values) > _PROBLEM:
        values[_PROBLEM] = ""
    shown: list[Any] = from_json(invitation_json(row))
    return bool(values == shown[: len(values)])


def blank(type_: EventType, data: EventJson) -> EventJson:
    """Returns what an event shows of a customer, or its invitation, once it is erased."""
    values: list[Any] = from_json(data)
    if type_.startswith("customer."):
        values[2:5] = "", "{}", values[4] and ""
        if len(values) > _EXTERNAL_ID:
            values[_EXTERNAL_ID : _EXTERNAL_ID + 2] = None, None
    else:
        values[_INVITATION_EMAIL] = ""
        if len(values) > _OPTIONS:
            options = read_options(values[_OPTIONS])
            values[_OPTIONS] = options_json(options.without_words())
    return EventJson(to_json(values))


def email_shown(type_: EventType, data: EventJson) -> str:
    """Returns the address that an event of a customer or its invitation shows, "" for none."""
    place = _CUSTOMER_EMAIL if type_.startswith("customer.") else _INVITATION_EMAIL
    return str(from_json(data)[place] or "")


def webhook_json(webhook: Webhook) -> EventJson:
    """Returns what an event shows of a webhook: all but its secret."""
    return EventJson(
        to_json(
            [
                *(webhook.id, webhook.url, webhook.types, webhook.description),
                *(webhook.content_type, webhook.alert_email, webhook.state),
                *(webhook.disable_reason, micros(webhook.created_at), micros(webhook.updated_at)),
                *(webhook.revision, webhook.verified),
                webhook.last_success_at and micros(webhook.last_success_at),
            ]
        )
    )


def role_json(subject_id: str, role: str, created_at: Micros) -> EventJson:
    """Returns what an event shows of a role."""
    return EventJson(to_json([subject_id, role, created_at]))


def event(transaction: Transaction, row: EventRow) -> Event:
    """Returns the event in a row."""
    type_ = EVENT_TYPES[row.type]
    reseller_id = resellers.reseller_id(transaction, row.reseller)
    values = from_json(row.data)
    subject = type_.partition(".")[0]
    customer_id: str | None = values[0] if row.customer is not None else None
    operation_id: str | None = row.operation_id
    data = _READERS[subject](reseller_id, values)
    if isinstance(data, Invitation) and data.options.method is DeliveryMethod.EMAIL:
        # Another address has nothing sent to it yet; all else leaves the e-mail as it was.
        is_corrected = type_ is EventType.INVITATION_UPDATED and data.delivery is None
        if type_ is EventType.INVITATION_RESENT or is_corrected:
            data = data._replace(delivery=EmailDelivery(DeliveryState.QUEUED))
    if operation_id == "":
        operation_id = ids.OPERATION + (customer_id or "")[3:]
    request_id, traceparent = parts(row.request_id)
    return Event(
        reseller_id,
        row.number,
        type_,
        from_micros(row.created_at),
        Actor(row.subject, row.key_id, request_id),
        customer_id,
        operation_id,
        data,
        _problem(values) if subject == "invitation" else None,
        traceparent,
    )


def _customer(reseller_id: str, values: list[Any]) -> Customer:
    id_, state, name, person, email, created_at, modified_at, account_id, *rest = values
    external_id, labels, deleted_at = [*rest, None, None, None][:3]
    return Customer(
        *(
            id_,
            reseller_id,
            account_id or ids.BILLING_ACCOUNT + id_[3:],
            name,
            from_json(person),
            email,
        ),
        CUSTOMER_STATES[CustomerStateCode(Code(state))]
        if deleted_at is None
        else CustomerState.DELETED,
        from_micros(created_at),
        from_micros(modified_at),
        external_id,
        from_json(labels) if labels else {},
        from_micros_or_none(deleted_at),
    )


def _problem(values: list[Any]) -> DeliveryError | None:
    problem = values[_PROBLEM]
    if isinstance(problem, list):
        return DeliveryError(*problem)
    return DeliveryError(problem) if problem else None


def _invitation(reseller_id: str, values: list[Any]) -> Invitation:
    id_, state, email, created_at, expires_at, ended_at, resent_at, *rest = values
    customer_state, _, invitation_id, operation_id, *rest = rest
    return Invitation(
        invitation_id or ids.INVITATION + id_[3:],
        reseller_id,
        id_,
        operation_id or ids.OPERATION + id_[3:],
        email,
        INVITATION_STATES[InvitationStateCode(Code(state))],
        from_micros(created_at),
        from_micros(expires_at),
        from_micros_or_none(ended_at),
        from_micros_or_none(resent_at),
        CUSTOMER_STATES[CustomerStateCode(Code(customer_state))] if customer_state else None,
        email_delivery(*rest[:2]) if rest else None,
        read_options(rest[2]) if len(rest) > 2 else NO_OPTIONS,
    )


def _webhook(reseller_id: str, values: list[Any]) -> Webhook:
    id_, url, types, description, content_type, alert_email, state, reason, *rest = values
    created_at, updated_at, revision, verified, last_success_at = rest
    return Webhook(
        *(id_, reseller_id, url, tuple(types), description, ContentType(content_type), alert_email),
        *(WebhookState(state), reason, from_micros(created_at), from_micros(updated_at)),
        *(revision, verified, from_micros_or_none(last_success_at)),
    )


def _role(reseller_id: str, values: list[Any]) -> RoleBinding:
    subject_id, role, created_at = values
    return RoleBinding(subject_id, reseller_id, Role(role), from_micros(created_at))


_READERS: Mapping[
    str, Callable[[str, list[Any]], Customer | Invitation | Webhook | RoleBinding]
] = {
    "customer": _customer,
    "invitation": _invitation,
    "webhook": _webhook,
    "access": _role,
}
