"""Operation records as the two published messages; no other module makes these.

Each API shows every operation in its own words, whichever of the two began it: an
OperationService with the published metadata and response, google.longrunning with ours.
"""

from collections.abc import Mapping
from typing import Any

from billing.v1 import customer_pb2 as billing_customer
from billing.v1 import customer_service_pb2 as billing_customers
from billing.v1 import event_pb2, invitation_pb2, invitation_service_pb2
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import customer_pb2, customer_service_pb2
from yandex.cloud.operation import operation_pb2

from server.domain import ids
from server.domain.customers import Customer
from server.domain.errors import BillingError, Reason, Resource, invalid_field
from server.domain.filters import Filter
from server.domain.invitations import Invitation, NewInvitation
from server.domain.mail import deferred
from server.domain.operations import DESCRIPTIONS, Operation, OperationKind
from server.rpc.messages import customers, filter_fields, filters, invitations
from server.rpc.messages import resource_names as names
from server.rpc.messages.timestamps import set_timestamp
from server.rpc.pipeline.call_ids import note_operation
from server.rpc.pipeline.errors import operation_status
from server.use_cases.operations import OperationWithSubject

_PREFIX = "operations/"
_TYPES = "type.googleapis.com/"
_METADATA = _TYPES + customer_service_pb2.CustomerMetadata.DESCRIPTOR.full_name
_RESPONSE = _TYPES + customer_pb2.Customer.DESCRIPTOR.full_name
_ACTION = billing_customers.CustomerMetadata.Action
_ACTIONS: Mapping[OperationKind, billing_customers.CustomerMetadata.Action.ValueType] = {
    OperationKind.CREATE_RESELLER_SERVED: _ACTION.CREATE,
    OperationKind.ACTIVATE: _ACTION.ACTIVATE,
    OperationKind.SUSPEND: _ACTION.SUSPEND,
}


def _read_customer(written: str) -> str:
    try:
        return "/".join(names.parse_name(written, names.CUSTOMERS))
    except BillingError:
        raise ValueError("must be resellers/{reseller}/customers/{customer}") from None


_FILTER = filters.ListFilter(
    filter_fields.bool_field("done"),
    filter_fields.presence_field("error"),
    filter_fields.text_field("metadata.customer", _read_customer),
    filter_fields.time_field("metadata.createTime"),
)


def to_yandex(operation: Operation) -> operation_pb2.Operation:
    """Returns the record as yandex.cloud.operation.Operation."""
    note_operation(operation)
    message = operation_pb2.Operation(
        id=operation.id,
        description=_description(operation),
        created_by=operation.created_by,
        done=operation.done,
    )
    set_timestamp(message.created_at, operation.created_at)
    set_timestamp(message.modified_at, operation.modified_at)
    # Messages are filled where they stand: one made apart and handed over would be copied.
    metadata = message.metadata
    if operation.kind is OperationKind.UPDATE_ACCESS:
        metadata.Pack(
            access_pb2.UpdateAccessBindingsMetadata(resource_id=operation.billing_account_id)
        )
        message.response.Pack(empty_pb2.Empty())
        return message
    metadata.type_url = _METADATA
    metadata.value = customer_service_pb2.CustomerMetadata(
        reseller_id=operation.reseller_id, customer_id=operation.customer_id
    ).SerializeToString()
    if operation.failure:
        message.error.CopyFrom(operation_status(operation.failure))
    elif operation.done:
        response = message.response
        response.type_url = _RESPONSE
        response.value = customer_pb2.Customer(
            id=operation.customer_id, billing_account_id=operation.billing_account_id
        ).SerializeToString()
    return message


def to_longrunning(shown: OperationWithSubject) -> operations_pb2.Operation:
    """Returns the record as google.longrunning.Operation."""
    operation, subject = shown
    note_operation(operation)
    message = operations_pb2.Operation(name=_PREFIX + operation.id, done=operation.done)
    _set_metadata(message.metadata, operation, subject)
    if operation.failure:
        message.error.CopyFrom(operation_status(operation.failure))
    elif operation.done:
        message.response.Pack(_response(operation, subject))
    return message


def _set_metadata(
    packed: any_pb2.Any, operation: Operation, subject: Customer | Invitation | None
) -> None:
    customer = names.name(operation.reseller_id, names.CUSTOMERS, operation.customer_id)
    metadata: Any
    if operation.kind is OperationKind.UPDATE_ACCESS:
        metadata = event_pb2.UpdateAccessMetadata(
            reseller=names.reseller_name(operation.reseller_id)
        )
    elif operation.kind is OperationKind.RESEND:
        metadata = invitation_service_pb2.ResendInvitationMetadata(customer=customer)
        if isinstance(subject, Invitation):
            metadata.invitation = _invitation_name(subject.reseller_id, subject.id)
    elif operation.kind is OperationKind.INVITE:
        metadata = billing_customers.InviteCustomerMetadata(customer=customer)
        ending = operation.id[3:]
        if operation.customer_id[3:] == ending:  # as all have that were made since version 0015
            metadata.invitation = _invitation_name(operation.reseller_id, ids.INVITATION + ending)
    else:
        action = _ACTIONS[operation.kind]
        metadata = billing_customers.CustomerMetadata(customer=customer, action=action)
    set_timestamp(metadata.create_time, operation.created_at)
    if operation.deferral and not operation.done:
        delivery = invitations.delivery_to_billing(deferred(operation.deferral))
        metadata.delivery.CopyFrom(delivery)
    packed.Pack(metadata)


def _invitation_name(reseller_id: str, invitation_id: str) -> str:
    return names.name(reseller_id, names.INVITATIONS, invitation_id)


def _response(operation: Operation, subject: Customer | Invitation | None) -> Message:
    """Returns what an operation that succeeded has led to: as it is now, or its name, if it is gone."""
    if operation.kind is OperationKind.UPDATE_ACCESS:
        return empty_pb2.Empty()
    if isinstance(subject, Invitation):
        return invitations.to_billing(subject)
    if subject:
        return customers.to_billing(subject)
    if operation.kind is OperationKind.RESEND:
        return invitation_pb2.Invitation()
    return billing_customer.Customer(
        name=names.name(operation.reseller_id, names.CUSTOMERS, operation.customer_id),
        billing_account_id=operation.billing_account_id,
    )


def checked_resend(invitation: Invitation) -> operations_pb2.Operation:
    """Returns what answers a request that was only checked: an operation without a name, and done."""
    message = operations_pb2.Operation(done=True)
    name = names.name(invitation.reseller_id, names.CUSTOMERS, invitation.customer_id)
    metadata = invitation_service_pb2.ResendInvitationMetadata(
        invitation=_invitation_name(invitation.reseller_id, invitation.id), customer=name
    )
    message.metadata.Pack(metadata)
    message.response.Pack(invitations.to_billing(invitation))
    return message


def checked_invitation(new: NewInvitation) -> operations_pb2.Operation:
    """Returns what answers a request that was only checked: an operation without a name, and done."""
    message = operations_pb2.Operation(done=True)
    metadata = billing_customers.InviteCustomerMetadata()
    set_timestamp(metadata.create_time, new.operation.created_at)
    message.metadata.Pack(metadata)
    message.response.Pack(customers.as_checked(new.customer))
    return message


def operation_id(name: str) -> str:
    """Returns the ID in `operations/{id}`; raises FIELDS_INVALID for any other name."""
    found = name.removeprefix(_PREFIX)
    if found == name or not found or "/" in found:
        raise invalid_field("name", "Must be operations/{operation_id}.")
    return found


def require_found(operation: Operation | None, operation_id: str) -> Operation:
    """Returns the operation; raises NOT_FOUND where there is none."""
    if operation is None:
        raise operation_not_found(operation_id)
    return operation


def operation_not_found(operation_id: str) -> BillingError:
    """Returns the refusal for an operation that does not exist, or no longer."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such operation; check its ID.",
        resource=Resource("yandex.cloud.operation.Operation", operation_id[:100]),
    )


def parse_operation_filter(text: str) -> Filter | None:
    """Returns the filter of a list of operations. Raises FIELDS_INVALID."""
    return _FILTER.parse(text)


def _description(operation: Operation) -> str:
    """Returns what the operation does and, while its e-mail is deferred, why and until when."""
    text = DESCRIPTIONS[operation.kind]
    deferral = operation.deferral
    if deferral is None or operation.done:
        return text
    next_at = deferral.next_attempt_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{text}: at attempt {deferral.attempt} {deferral.problem}; next attempt at {next_at}"
