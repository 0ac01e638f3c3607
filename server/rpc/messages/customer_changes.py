"""Requests to create and to change customers, as arguments.

Masks are read by https://google.aip.dev/134 and 161.
"""

import re
from collections.abc import Iterable

from billing.v1 import customer_pb2, customer_service_pb2

from server.domain.customer_changes import CustomerChanges
from server.domain.errors import FieldViolation, invalid_field, invalid_fields
from server.domain.labels import key_fault
from server.domain.texts import printable
from server.rpc.formats.addresses import normal_address
from server.rpc.messages.customers import PERSON_FIELDS, person_fields

_FIELDS = frozenset(customer_pb2.Customer.DESCRIPTOR.fields_by_name)
_SETTABLE = ("display_name", "person", "external_id", "labels")
_IMMUTABLE = "email"
_ALL = "*"
_CAPITAL = re.compile("([A-Z])")
_LONGEST_SHOWN = 50


def require_no_email(customer: customer_pb2.Customer) -> None:
    """Raises FIELDS_INVALID for a customer to create that has an address."""
    if customer.email:
        raise invalid_field(
            "customer.email", "Must be empty: who is invited is added by InviteCustomer."
        )


def update_arguments(request: customer_service_pb2.UpdateCustomerRequest) -> CustomerChanges:
    """Returns what a request to change a customer says. Raises FIELDS_INVALID."""
    message = request.customer
    paths = list(request.update_mask.paths)
    if not paths:
        paths = [field.name for field, _ in message.ListFields() if field.name in _SETTABLE]
        if "person" in paths:
            paths.remove("person")
            paths += [f"person.{name}" for name in person_fields(message.person)]
        if message.email:
            paths.append(_IMMUTABLE)
    elif _ALL in paths:
        if len(paths) > 1:
            raise invalid_field("update_mask", "* stands for all fields: name no other beside it.")
        paths = [*_SETTABLE, *([_IMMUTABLE] if message.email else [])]
    return _changes(message, paths)


def _changes(message: customer_pb2.Customer, paths: Iterable[str]) -> CustomerChanges:
    changes = CustomerChanges()
    person: dict[str, str] = {}
    some_labels: dict[str, str | None] = {}
    wrong: list[FieldViolation] = []
    for path in paths:
        first, dot, inner = path.partition(".")
        name = _proto_name(first)
        if name == "labels" and dot:
            key = inner.strip("`")
            some_labels[key] = message.labels.get(key)
            if fault := key_fault(key):
                wrong.append(FieldViolation("update_mask", fault))
        elif name == "person" and _proto_name(inner) in PERSON_FIELDS:
            person[_proto_name(inner)] = getattr(message.person, _proto_name(inner))
        elif inner or name not in (*_SETTABLE, _IMMUTABLE):
            wrong.append(FieldViolation("update_mask", _refusal(path, name, inner)))
        elif name == "person":
            person |= {each: getattr(message.person, each) for each in PERSON_FIELDS}
        elif name == "display_name":
            changes = changes._replace(name=message.display_name)
        elif name == "external_id":
            changes = changes._replace(external_id=message.external_id)
        elif name == "labels":
            changes = changes._replace(labels=dict(message.labels))
        else:
            changes = changes._replace(email=normal_address(message.email) if message.email else "")
    if wrong:
        raise invalid_fields(*wrong[:3])
    return changes._replace(person=person, some_labels=some_labels)


def _refusal(path: str, name: str, inner: str) -> str:
    shown = printable(path if len(path) <= _LONGEST_SHOWN else path[: _LONGEST_SHOWN - 1] + "…")
    if name in _FIELDS and not inner:
        return f"{shown} can't be set."
    known = ", ".join(
        customer_pb2.Customer.DESCRIPTOR.fields_by_name[each].json_name for each in _SETTABLE
    )
    return f"There is no field {shown}; name some of {known}, a part of person or labels, or * for all."


def _proto_name(name: str) -> str:
    return _CAPITAL.sub(lambda found: "_" + found[1].lower(), name)
