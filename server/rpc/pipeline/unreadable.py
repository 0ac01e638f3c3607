"""Fields of a REST request that can't be read: a number for a text, a name that no field has.

The gateway sends the request on without them and names them in a header, so that the caller is refused once
for all that is wrong, and is told of fields only where it may ask at all.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from server.domain.errors import BillingError, FieldViolation, invalid_fields
from server.rpc.pipeline.validation import MOST_NAMED, RequestCheck, validate

# The gateway lets no caller send it (gateway/lua/input_checks.lua sets it).
HEADER = "x-unreadable-fields-bin"


def refuse_unreadable(
    named: bytes, request: Message, more: Iterable[RequestCheck], body: str
) -> NoReturn:
    """Raises FIELDS_INVALID that names these fields and what `validate` finds in the others.

    `named` is a google.rpc.BadRequest in JSON, its fields written as the caller did; `body` is the field
    that is all of the caller's body.
    """
    try:
        sent = json_format.Parse(named, error_details_pb2.BadRequest()).field_violations
    except (json_format.ParseError, UnicodeDecodeError):
        sent = []
    if not sent:
        raise invalid_fields(FieldViolation(HEADER, "Only the gateway sends it."))
    wrong = [FieldViolation(each.field, each.description, as_written=True) for each in sent]
    unread = {_plain(each.field) for each in sent}
    try:
        validate(request, more)
    except BillingError as error:
        wrong += [each for each in error.fields if not _is_within(each.field, body, unread)]
    raise invalid_fields(*wrong[:MOST_NAMED])


def _is_within(field: str, body: str, unread: Iterable[str]) -> bool:
    """Tells whether a field is unread, or a part of one that is, or of a list that has one."""
    names = {_plain(field), _plain(field.removeprefix(f"{body}."))}
    outer = {part for each in unread for part in (each, each.partition("[")[0])}
    return any(f"{name}.".startswith(f"{part}.") for name in names for part in outer)


def _plain(field: Any) -> str:
    """Returns a field's path as it is compared: it may be written as in the protos or as in JSON."""
    return str(field).replace("_", "").lower()
