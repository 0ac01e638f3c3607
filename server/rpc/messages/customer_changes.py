"""Requests to create and to change customers, as arguments."""

from collections.abc import Iterable

from billing.v1 import customer_pb2, customer_service_pb2

from server.domain.customer_changes import CustomerChanges, check_changes
from server.domain.errors import FieldViolation, invalid_field, invalid_fields
from server.domain.labels import key_fault
from server.rpc.formats.addresses import normal_address
from server.rpc.messages import masks
from server.rpc.messages.customers import PERSON_FIELDS, person_fields
from server.rpc.messages.masks import ALL, Path, read_mask

_SETTABLE = ("display_name", "person", "external_id", "labels")
_IMMUTABLE = "email"


def check_labels(
    request: customer_service_pb2.InviteCustomerRequest
    | customer_service_pb2.CreateCustomerRequest,
) -> None:
    """Raises FIELDS_INVALID for the labels of a customer to make."""
    check_changes(CustomerChanges(labels=request.customer.labels))


def check_update(request: customer_service_pb2.UpdateCustomerRequest) -> None:
    """Raises FIELDS_INVALID for what a request to change a customer says."""
    check_changes(update_arguments(request))


def require_no_email(request: customer_service_pb2.CreateCustomerRequest) -> None:
    """Raises FIELDS_INVALID for a customer to create that has an address."""
    if request.customer.email:
        raise invalid_field(
            "customer.email", "Must be empty: who is invited is added by InviteCustomer."
        )


def update_arguments(request: customer_service_pb2.UpdateCustomerRequest) -> CustomerChanges:
    """Returns what a request to change a customer says. Raises FIELDS_INVALID."""
    message = request.customer
    paths = read_mask(request.update_mask, message.DESCRIPTOR, _SETTABLE, known=(_IMMUTABLE,))
    if paths == [ALL]:
        paths = [*map(Path, _SETTABLE), *_sent_email(message)]
    elif not paths:
        paths = [Path(field.name) for field, _ in message.ListFields() if field.name in _SETTABLE]
        if Path("person") in paths:
            paths.remove(Path("person"))
            paths += [Path("person", name) for name in person_fields(message.person)]
        paths += _sent_email(message)
    return _changes(message, paths)


def _sent_email(message: customer_pb2.Customer) -> list[Path]:
    return [Path(_IMMUTABLE)] if message.email else []


def _changes(message: customer_pb2.Customer, paths: Iterable[Path]) -> CustomerChanges:
    changes = CustomerChanges()
    person: dict[str, str] = {}
    some_labels: dict[str, str | None] = {}
    for field, part in paths:
        if field == "labels" and part is not None:
            some_labels[part] = message.labels.get(part)
        elif field == "person":
            for name in [part] if part else PERSON_FIELDS:
                person[name] = getattr(message.person, name)
        elif field == "display_name":
            changes = changes._replace(name=message.display_name)
        elif field == "external_id":
            changes = changes._replace(external_id=message.external_id)
        elif field == "labels":
            changes = changes._replace(labels=dict(message.labels))
        else:
            changes = changes._replace(email=normal_address(message.email) if message.email else "")
    faults = filter(None, map(key_fault, some_labels))
    if wrong := [FieldViolation(masks.FIELD, fault) for fault in faults]:
        raise invalid_fields(*wrong[:3])
    return changes._replace(person=person, some_labels=some_labels)
