"""Event records as messages, and as JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from billing.v1 import event_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from server.domain.access import RoleBinding
from server.domain.customers import Customer
from server.domain.errors import BillingError, Reason, Resource
from server.domain.events import Event, EventType
from server.domain.filters import Filter
from server.domain.invitations import Invitation
from server.domain.webhooks import Webhook
from server.rpc.messages import customers, filter_fields, filters, invitations, webhooks
from server.rpc.messages import resource_names as names
from server.rpc.messages.timestamps import set_timestamp, timestamp

_TYPE = filter_fields.enum_field("type", {type_.value: type_ for type_ in EventType})
_CREATE_TIME = filter_fields.time_field("createTime")
_SUBJECT = filter_fields.text_field("actor.subject")


def parse_event_filter(text: str, reseller_id: str) -> Filter | None:
    """Returns the filter of a list or stream of events; customers in it are IDs."""
    if not text:
        return None
    customer = filter_fields.customer_field(reseller_id)
    return filters.ListFilter(_TYPE, customer, _CREATE_TIME, _SUBJECT).parse(text)


def to_event(event: Event) -> event_pb2.Event:
    """Returns the record as billing.v1.Event."""
    message = event_pb2.Event(
        name=names.name(event.reseller_id, names.EVENTS, event.id), type=event.type.value
    )
    set_timestamp(message.create_time, event.created_at)
    message.actor.subject = event.actor.subject
    message.actor.key_id = event.actor.key_id or ""
    message.actor.request_id = event.actor.request_id or ""
    if event.customer_id:
        message.customer = names.name(event.reseller_id, names.CUSTOMERS, event.customer_id)
    if invitation_id := event.invitation_id:
        message.invitation = names.name(event.reseller_id, names.INVITATIONS, invitation_id)
    if event.operation_id:
        message.operation = f"operations/{event.operation_id}"
    message.data.Pack(_data(event))
    return message


def event_json(event: Event) -> dict[str, Any]:
    """Returns the record as REST answers with it."""
    return message_json(to_event(event))


def message_json(message: Message) -> dict[str, Any]:
    """Returns a message as the gateway writes it: with fields that are empty."""
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def event_not_found(name: str) -> BillingError:
    """Returns the refusal of an event's name."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such event, or no longer; check its name.",
        resource=Resource("billing.v1.Event", name[:100]),
    )


def _data(event: Event) -> Message:
    if isinstance(event.data, Invitation):
        invitation = invitations.to_billing(event.data)
        if event.problem:
            invitation.delivery.last_error.CopyFrom(invitations.delivery_error(event.problem))
        return invitation
    return _MESSAGES[type(event.data)](event.data)


def _role_binding(binding: RoleBinding) -> event_pb2.RoleBinding:
    return event_pb2.RoleBinding(
        reseller=names.reseller_name(binding.reseller_id),
        subject=binding.subject_id,
        role=binding.role.value,
        create_time=timestamp(binding.created_at),
    )


# What an event shows, by the type of the record.
_MESSAGES: Mapping[type, Callable[[Any], Message]] = {
    Customer: customers.to_billing,
    RoleBinding: _role_binding,
    Webhook: webhooks.to_billing,
}
