"""JSON Schemas of messages, as Envoy reads and prints them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor

from gateway.openapi import constraints, overrides
from gateway.openapi.templates import json_name

Schema = dict[str, Any]

_F = FieldDescriptor
_INTEGERS: Mapping[int, tuple[str, int, int]] = {
    **dict.fromkeys(
        (_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), ("int32", -(2**31), 2**31 - 1)
    ),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), ("uint32", 0, 2**32 - 1)),
    **dict.fromkeys(
        (_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), ("int64", -(2**63), 2**63 - 1)
    ),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), ("uint64", 0, 2**64 - 1)),
}
_OTHERS: Mapping[int, Schema] = {
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
# Messages with a JSON form of their own, by name within google.protobuf.
_WELL_KNOWN: Mapping[str, Schema] = {
    "Timestamp": {"type": "string", "format": "date-time"},
    "Duration": {"type": "string", "pattern": "^-?[0-9]{1,11}(?:\\.[0-9]{1,9})?s$"},
    "FieldMask": {"type": "string", "pattern": "^(?:\\*|[a-zA-Z0-9_.`-]+(?:,[a-zA-Z0-9_.`-]+)*)?$"},
    "Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
    "Empty": {"type": "object", "maxProperties": 0},
    "Struct": {"type": "object"},
    "ListValue": {"type": "array"},
    "Value": {},
    "BoolValue": {"type": "boolean"},
    "StringValue": {"type": "string"},
    "BytesValue": _OTHERS[_F.TYPE_BYTES],
    "FloatValue": _OTHERS[_F.TYPE_FLOAT],
    "DoubleValue": _OTHERS[_F.TYPE_DOUBLE],
    "Int32Value": {"type": "integer", "format": "int32"},
    "UInt32Value": {"type": "integer", "format": "uint32"},
    "Int64Value": {"type": "string", "format": "int64"},
    "UInt64Value": {"type": "string", "format": "uint64"},
}
_TYPE_URL = "type.googleapis.com/"


class Schemas:
    """Collects the schemas of all messages that are referred to.

    `comments` are texts by full name. `request_types` names the messages that requests consist of: they
    are closed, for unknown fields are refused. `packed` says which messages an Any field may
    hold, by the field's full name.
    """

    def __init__(
        self,
        comments: Mapping[str, str],
        request_types: frozenset[str],
        packed: Mapping[str, Sequence[Descriptor]],
    ) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments
        self._request_types = request_types
        self._packed = packed

    def reference(self, message: Descriptor) -> Schema:
        """Returns the schema of a message, by reference unless it has a JSON form of its own."""
        if is_well_known(message):
            return dict(_WELL_KNOWN[message.name])
        name = message.full_name
        if name not in self.components:
            self.components[name] = {}  # A message may hold itself.
            self.components[name] = self.message(message, message.fields)
        return {"$ref": f"#/components/schemas/{name}"}

    def message(self, message: Descriptor, fields: Iterable[FieldDescriptor]) -> Schema:
        """Returns the schema of a message that has only these fields."""
        in_request = message.full_name in self._request_types
        fields = list(fields)
        schema: Schema = {"type": "object"}
        if message.full_name in self._comments:
            schema["description"] = self._comments[message.full_name]
        schema["properties"] = {
            json_name(field): self.field(field, in_request=in_request) for field in fields
        }
        required = [
            json_name(f)
            for f in fields
            if (constraints.is_required if in_request else _always_printed)(f)
        ]
        if required:
            schema["required"] = required
        if in_request:
            schema["additionalProperties"] = False
        choices = [one for each in message.oneofs for one in _choice(each, fields)]
        if len(choices) == 1:
            schema |= choices[0]
        elif choices:
            schema["allOf"] = choices
        return schema

    def field(self, field: FieldDescriptor, *, in_request: bool, in_query: bool = False) -> Schema:
        """Returns the schema of a field as it stands in a body, or in a query."""
        entry = field.message_type
        schema: Schema
        if entry and entry.GetOptions().map_entry:
            value = self._value(entry.fields_by_name["value"], in_request, in_query)
            schema = {"type": "object", "additionalProperties": value}
            schema |= constraints.of_elements(field)
        elif field.is_repeated:
            schema = {"type": "array", "items": self._value(field, in_request, in_query)}
            schema |= constraints.of_elements(field)
        else:
            schema = self._value(field, in_request, in_query)
        schema |= overrides.KEYWORDS.get(field.full_name, {})
        if (
            in_request
            and not in_query
            and not constraints.is_required(field)
            and not _is_choice(field)
        ):
            schema = _or_null(schema)
        if field.full_name in self._comments:
            schema["description"] = self._comments[field.full_name]
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        return schema

    def _value(self, field: FieldDescriptor, in_request: bool, in_query: bool) -> Schema:
        if field.type == _F.TYPE_STRING:
            return {"type": "string"} | constraints.of_text(field, in_request=in_request)
        if field.type in _INTEGERS:
            name, low, high = _INTEGERS[field.type]
            if name.endswith("64") and not in_query:
                return {"type": "string", "format": name, "pattern": "^-?[0-9]{1,20}$"}
            limits = {"minimum": low, "maximum": high} if in_request else {}
            return {"type": "integer", "format": name} | limits | constraints.of_number(field)
        if field.type == _F.TYPE_ENUM:
            any_ = not (in_request and constraints.is_required(field))
            values = [each.name for each in field.enum_type.values if any_ or each.number]
            return {"type": "string", "enum": values}
        if field.type in _OTHERS:
            return dict(_OTHERS[field.type])
        if field.full_name in self._packed:
            options = [self._any_of(message) for message in self._packed[field.full_name]]
            return options[0] if len(options) == 1 else {"anyOf": options}
        if in_request and (needed := constraints.required_parts(field)):
            return self._with(field, needed)
        return self.reference(field.message_type)

    def _with(self, field: FieldDescriptor, needed: frozenset[str]) -> Schema:
        """Returns the schema of a message that has these texts where it stands in a field.

        It has a component of its own: generators don't merge what two schemas say of a property.
        """
        message = field.message_type
        if field.full_name not in self.components:
            schema = self.message(message, message.fields)
            for part in (message.fields_by_name[name] for name in needed):
                described = {"description": schema["properties"][json_name(part)]["description"]}
                text = constraints.of_text(part, in_request=True, is_needed=True)
                schema["properties"][json_name(part)] = {"type": "string"} | text | described
            names = [json_name(part) for part in message.fields if part.name in needed]
            schema["required"] = [*schema.get("required", []), *names]
            self.components[field.full_name] = schema
        return {"$ref": f"#/components/schemas/{field.full_name}"}

    def _any_of(self, message: Descriptor) -> Schema:
        """Returns the schema of an Any that holds this message."""
        name = f"google.protobuf.Any.{message.full_name}"
        if name not in self.components:
            schema: Schema
            if is_well_known(message):
                schema = {"type": "object", "properties": {"value": self.reference(message)}}
            else:
                schema = self.message(message, message.fields)
            type_url = {"const": _TYPE_URL + message.full_name}
            schema["properties"] = {"@type": type_url} | schema["properties"]
            schema["required"] = ["@type", *schema.get("required", [])]
            self.components[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}


def is_well_known(message: Descriptor) -> bool:
    """Tells whether a message has a JSON form of its own."""
    return message.file.package == "google.protobuf" and message.name in _WELL_KNOWN


def _is_choice(field: FieldDescriptor) -> bool:
    # `optional` makes a oneof of a single field.
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _always_printed(field: FieldDescriptor) -> bool:
    """Envoy prints what has no presence also when it is empty."""
    # Some errors are written by Envoy itself, without the fields of their details.
    package = field.containing_type.file.package
    detail = package == "google.rpc" and field.containing_type.name != "Status"
    return not detail and not field.has_presence


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _choice(oneof: OneofDescriptor, fields: Sequence[FieldDescriptor]) -> list[Schema]:
    """Returns what says that at most one of a oneof's fields is set, or exactly one."""
    names = [json_name(field) for field in oneof.fields if field in fields]
    if oneof.full_name in overrides.EXACTLY_ONE:
        if len(names) < len(fields):
            raise ValueError(f"{oneof.full_name}: the message has other fields; say it another way")
        # By number: generators make alternatives without properties of `oneOf` with `required`.
        return [{"minProperties": 1, "maxProperties": 1}]
    if len(names) < 2:
        return []
    pairs = [
        {"required": [first, second]}
        for index, first in enumerate(names)
        for second in names[index + 1 :]
    ]
    return [{"not": pairs[0] if len(pairs) == 1 else {"anyOf": pairs}}]
