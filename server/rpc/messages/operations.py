"""Operation records as the two published messages; no other module makes these."""

from datetime import datetime

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, timestamp_pb2
from google.protobuf.message import Message
from yandex.cloud.billing.v1 import customer_pb2, customer_service_pb2
from yandex.cloud.operation import operation_pb2

from server.domain.errors import BillingError, Reason, Resource, invalid_field
from server.domain.operations import DESCRIPTIONS, Operation
from server.rpc.pipeline.errors import operation_status

_PREFIX = "operations/"


def published(operation: Operation) -> operation_pb2.Operation:
    """Returns the record as yandex.cloud.operation.Operation."""
    message = operation_pb2.Operation(
        id=operation.id,
        description=_description(operation),
        created_by=operation.created_by,
        done=operation.done,
    )
    _set_time(message.created_at, operation.created_at)
    _set_time(message.modified_at, operation.modified_at)
    _set_outcome(message, operation)
    return message


def google_style(operation: Operation) -> operations_pb2.Operation:
    """Returns the record as google.longrunning.Operation."""
    message = operations_pb2.Operation(name=_PREFIX + operation.id, done=operation.done)
    _set_outcome(message, operation)
    return message


def operation_id(name: str) -> str:
    """Returns the ID in `operations/{id}`; raises FIELDS_INVALID for any other name."""
    found = name.removeprefix(_PREFIX)
    if found == name or not found or "/" in found:
        raise invalid_field("name", "Must be operations/{operation_id}.")
    return found


def not_found(operation_id: str) -> BillingError:
    """Returns the refusal for an operation that does not exist, or no longer."""
    return BillingError(
        Reason.NOT_FOUND,
        "There is no such operation; check its ID.",
        resource=Resource("yandex.cloud.operation.Operation", operation_id[:100]),
    )


def timestamp(at: datetime) -> timestamp_pb2.Timestamp:
    """Returns an aware time as a protobuf Timestamp."""
    message = timestamp_pb2.Timestamp()
    _set_time(message, at)
    return message


# Messages are filled where they stand: one made apart and handed over is copied.


def _set_time(message: timestamp_pb2.Timestamp, at: datetime) -> None:
    message.seconds = int(at.timestamp())
    message.nanos = at.microsecond * 1000


def _description(operation: Operation) -> str:
    """Returns what the operation does and, while its e-mail is deferred, why and until when."""
    text = DESCRIPTIONS[operation.kind]
    deferral = operation.deferral
    if deferral is None or operation.done:
        return text
    next_at = deferral.next_attempt_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{text}: at attempt {deferral.attempt} {deferral.problem}; next attempt at {next_at}"


def _set_outcome(
    message: operation_pb2.Operation | operations_pb2.Operation, operation: Operation
) -> None:
    """Fills in what both messages have alike: metadata, and error or response."""
    _pack(
        message.metadata,
        customer_service_pb2.CustomerMetadata(
            reseller_id=operation.reseller_id, customer_id=operation.customer_id
        ),
    )
    if operation.failure:
        message.error.CopyFrom(operation_status(operation.failure))
    elif operation.done:
        _pack(
            message.response,
            customer_pb2.Customer(
                id=operation.customer_id, billing_account_id=operation.billing_account_id
            ),
        )


def _pack(any_: any_pb2.Any, message: Message) -> None:
    any_.type_url = "type.googleapis.com/" + message.DESCRIPTOR.full_name
    any_.value = message.SerializeToString()
