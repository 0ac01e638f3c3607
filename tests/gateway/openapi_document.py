"""The committed description, for tests."""

import json
from typing import Any

import jsonschema_rs
from billing.v1 import customer_pb2 as google_customer
from billing.v1 import customer_service_pb2 as google_customers
from billing.v1 import (
    event_pb2,
    event_service_pb2,
    invitation_pb2,
    invitation_service_pb2,
    suppression_pb2,
    suppression_service_pb2,
    webhook_pb2,
    webhook_service_pb2,
)
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.access import access_pb2
from yandex.cloud.billing.v1 import (
    billing_account_pb2,
    billing_account_service_pb2,
    customer_pb2,
    customer_service_pb2,
)
from yandex.cloud.endpoint import api_endpoint_pb2, api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from gateway import openapi
from gateway.openapi import constraints

_TEXT = openapi.DOCUMENT.read_text(encoding="utf-8")
DOCUMENT = json.loads(_TEXT)
# The same but that texts may hold what is refused above U+FFFF: hypothesis can't make what a look
# ahead asks for, and throws away what it has made.
_NONE_ABOVE = json.dumps(constraints.NONE_ABOVE, ensure_ascii=False).strip('"')
DOCUMENT_TO_GENERATE_FROM = json.loads(_TEXT.replace(_NONE_ABOVE, ""))

_MODULES = (
    access_pb2,
    api_endpoint_pb2,
    api_endpoint_service_pb2,
    billing_account_pb2,
    billing_account_service_pb2,
    customer_pb2,
    customer_service_pb2,
    empty_pb2,
    error_details_pb2,
    event_pb2,
    event_service_pb2,
    google_customer,
    google_customers,
    iam_token_service_pb2,
    invitation_pb2,
    invitation_service_pb2,
    operation_pb2,
    operation_service_pb2,
    suppression_pb2,
    suppression_service_pb2,
    operations_pb2,
    status_pb2,
    webhook_pb2,
    webhook_service_pb2,
)
_TYPES = {
    message.full_name: message
    for module in _MODULES
    for message in module.DESCRIPTOR.message_types_by_name.values()
}


def parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns an operation's parameters."""
    return [resolve(each) for each in operation.get("parameters", [])]


def resolve(value: dict[str, Any]) -> dict[str, Any]:
    """Follows a reference within the document."""
    found: Any = DOCUMENT
    if "$ref" not in value:
        return value
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    assert isinstance(found, dict)
    return found


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    """Returns what a schema of the document finds wrong with a value."""
    validator = jsonschema_rs.Draft202012Validator(
        schema | {"components": DOCUMENT["components"]}, validate_formats=True
    )
    return [error.message for error in validator.iter_errors(value)]


def new_message(full_name: str) -> Message:
    """Returns an empty message of a compiled type, or of the type of a field."""
    if full_name not in _TYPES:
        parent, _, name = full_name.rpartition(".")
        return GetMessageClass(_TYPES[parent].fields_by_name[name].message_type)()
    return GetMessageClass(_TYPES[full_name])()
