"""Operation records as the two published messages; no other module makes these."""

from google.longrunning import operations_pb2
from yandex.cloud.billing.v1 import customer_pb2, customer_service_pb2
from yandex.cloud.operation import operation_pb2

from server.domain.errors import BillingError, Reason, Resource, invalid_field
from server.domain.operations import DESCRIPTIONS, Operation
from server.rpc.messages import filters
from server.rpc.messages.timestamps import set_timestamp
from server.rpc.pipeline.errors import operation_status

_PREFIX = "operations/"
_TYPES = "type.googleapis.com/"
_METADATA = _TYPES + customer_service_pb2.CustomerMetadata.DESCRIPTOR.full_name
_RESPONSE = _TYPES + customer_pb2.Customer.DESCRIPTOR.full_name
_DONE = filters.bool_field("done")
_FILTER = filters.ListFilter(_DONE)


def to_yandex(operation: Operation) -> operation_pb2.Operation:
    """Returns the record as yandex.cloud.operation.Operation."""
    message = operation_pb2.Operation(
        id=operation.id,
        description=_description(operation),
        created_by=operation.created_by,
        done=operation.done,
    )
    set_timestamp(message.created_at, operation.created_at)
    set_timestamp(message.modified_at, operation.modified_at)
    _set_outcome(message, operation)
    return message


def to_longrunning(operation: Operation) -> operations_pb2.Operation:
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


def parse_done_filter(text: str) -> bool | None:
    """Reads `done = true`, `done = false`, `NOT done` and the like; None means all."""
    return _FILTER.parse_equalities(text).get(_DONE)


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
    """Fills in what both messages have alike: metadata, and error or response.

    Messages are filled where they stand: one made apart and handed over would be copied.
    """
    metadata = message.metadata
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
