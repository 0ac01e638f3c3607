"""Writes the script that Envoy's Lua filter runs: tables made from the protos, checks from lua/."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.rpc import code_pb2

from gateway import pages
from gateway.http_rules import VARIABLE, DescriptorSet, Method, Rule
from gateway.settings import GatewaySettings

_Type = FieldDescriptorProto.Type
_HTTP_BODY = ".google.api.HttpBody"
_FIELD_MASK = ".google.protobuf.FieldMask"
# Names fields of the resource that is beside it.
_UPDATE_MASK = "update_mask"
_KINDS = {
    _Type.TYPE_STRING: "string",
    _Type.TYPE_BYTES: "string",
    _Type.TYPE_BOOL: "bool",
    _Type.TYPE_DOUBLE: "number",
    _Type.TYPE_FLOAT: "number",
    _Type.TYPE_ENUM: "enum",
}
_RANGES = {
    **dict.fromkeys((_Type.TYPE_INT32, _Type.TYPE_SINT32, _Type.TYPE_SFIXED32), "int32"),
    **dict.fromkeys((_Type.TYPE_UINT32, _Type.TYPE_FIXED32), "uint32"),
    **dict.fromkeys((_Type.TYPE_INT64, _Type.TYPE_SINT64, _Type.TYPE_SFIXED64), "int64"),
    **dict.fromkeys((_Type.TYPE_UINT64, _Type.TYPE_FIXED64), "uint64"),
}
# Types with a JSON form of their own, by https://protobuf.dev/programming-guides/json/; None: any.
_WELL_KNOWN: dict[str, str | None] = {
    ".google.protobuf.Any": "struct",
    ".google.protobuf.Struct": "struct",
    ".google.protobuf.Value": None,
    ".google.protobuf.ListValue": "list",
    ".google.protobuf.Timestamp": "timestamp",
    ".google.protobuf.Duration": "duration",
    _FIELD_MASK: "mask",
    ".google.protobuf.StringValue": "string",
    ".google.protobuf.BytesValue": "string",
    ".google.protobuf.BoolValue": "bool",
    ".google.protobuf.DoubleValue": "number",
    ".google.protobuf.FloatValue": "number",
    ".google.protobuf.Int32Value": "integer",
    ".google.protobuf.Int64Value": "integer",
    ".google.protobuf.UInt32Value": "integer",
    ".google.protobuf.UInt64Value": "integer",
}


MOST_HEADERS = 100
# The server is told a later time than Envoy's, so that the answer is always Envoy's whole one.
DEADLINE_MARGIN_S = 0.5
# Bytes; a shorter answer fits into a packet anyway.
LEAST_PACKED = 1024
# The HTTP statuses of the gRPC codes.
_REFUSALS = (400, 401, 403, 404, 409, 429, 499, 500, 501, 503, 504)


def source(root: Path, descriptors: DescriptorSet, settings: GatewaySettings) -> str:
    """Returns the script; it finds its modules in `root`/gateway/lua."""
    bindings = [
        (method, rule)
        for method in descriptors.methods
        for rule in (method.rules if method.is_page else method.rest_rules + method.connect_rules)
    ]
    types = sorted(_reachable(descriptors, {method.input_type for method, _ in bindings}))
    lines = [
        package_path(root),
        "local rules = {",
        *(f'  ["{rule.name}"] = {_rule(descriptors, method, rule)},' for method, rule in bindings),
        "}",
        "local messages = {",
    ]
    for name in types:
        lines.append(f'  ["{name.removeprefix(".")}"] = {{')
        message = descriptors.messages[name]
        lines += [f"    {_field(descriptors, message, field)}," for field in message.field]
        lines.append("  },")
    lines += [
        "}",
        "local limits = {",
        f"  headers = {MOST_HEADERS}, header_bytes = {settings.max_headers_kib << 10},",
        f"  call_ms = {settings.timeout_s * 1000:.0f}, margin_ms = {DEADLINE_MARGIN_S * 1000:.0f},",
        f"  packed_bytes = {LEAST_PACKED},",
        "}",
        "local pages = {",
        *(f"  [{status}] = {_lua_text(pages.html(status))}," for status in _REFUSALS),
        "}",
        "local codes = {",
        *(f'  ["{number}"] = "{name}",' for name, number in code_pb2.Code.items()),
        "}",
        'local checks = require("input_checks")',
        "envoy_on_request = checks.new_request_check(rules, messages, limits)",
        "envoy_on_response = checks.new_response_check(rules, limits, pages, codes)",
        "",
    ]
    return "\n".join(lines)


def package_path(root: Path) -> str:
    """Returns the line that has a script find the modules in `root`/gateway/lua."""
    return f'package.path = "{(root / "gateway" / "lua").as_posix()}/?.lua"'


def _lua_text(text: str) -> str:
    return f"[==[{text}]==]"


def _reachable(descriptors: DescriptorSet, types: set[str]) -> set[str]:
    """Returns the messages whose fields a caller may name, whatever the way to them."""
    found: set[str] = set()
    while types:
        name = types.pop()
        found.add(name)
        for field in descriptors.messages[name].field:
            inner, _ = _element(descriptors, field)
            if _kind(inner) == "message" and inner.type_name not in found:
                types.add(inner.type_name)
    return found


def _element(
    descriptors: DescriptorSet, field: FieldDescriptorProto
) -> tuple[FieldDescriptorProto, str]:
    """Returns the field that tells the type of one value, and "list", "map" or ""."""
    if field.label != FieldDescriptorProto.LABEL_REPEATED:
        return field, ""
    message = descriptors.messages.get(field.type_name)
    if message is not None and message.options.map_entry:
        return message.field[1], "map"
    return field, "list"


def _kind(field: FieldDescriptorProto) -> str | None:
    if field.type == _Type.TYPE_MESSAGE:
        return _WELL_KNOWN.get(field.type_name, "message")
    return _KINDS.get(field.type, "integer")


def _field(
    descriptors: DescriptorSet, message: DescriptorProto, field: FieldDescriptorProto
) -> str:
    element, many = _element(descriptors, field)
    kind = _kind(element)
    parts = {"name": field.name}
    if field.json_name != field.name:
        parts["json"] = field.json_name
    if kind:
        parts["kind"] = kind
    if kind == "message":
        parts["of"] = element.type_name.removeprefix(".")
    if many:
        parts["many"] = many
    if kind == "integer":
        parts["range"] = _range(element)
    if field.HasField("oneof_index") and not field.proto3_optional:
        parts["oneof"] = f"oneof {message.oneof_decl[field.oneof_index].name}"
    written = [f'{name} = "{value}"' for name, value in parts.items()]
    if field.name == _UPDATE_MASK and (resource := _resource(descriptors, message)):
        written.append(f'mask = "{resource}"')
    if kind == "enum":
        values = descriptors.enums[element.type_name].value
        written.append("values = {" + ", ".join(f'["{each.name}"] = true' for each in values) + "}")
    return "{ " + ", ".join(written) + " }"


def _resource(descriptors: DescriptorSet, message: DescriptorProto) -> str:
    """Returns the type of the resource that a request to change it holds, "" for none."""
    types = (field.type_name for field in message.field if field.type == _Type.TYPE_MESSAGE)
    named = (
        type_
        for type_ in types
        if any(field.name == "name" for field in descriptors.messages[type_].field)
    )
    return next(named, "").removeprefix(".")


def _range(field: FieldDescriptorProto) -> str:
    """Returns which of Lua's ranges a whole number has."""
    if field.type == _Type.TYPE_MESSAGE:  # a wrapper: .google.protobuf.UInt32Value
        return field.type_name.rpartition(".")[2].removesuffix("Value").lower()
    return _RANGES[field.type]


def _rule(descriptors: DescriptorSet, method: Method, rule: Rule) -> str:
    def parts() -> Iterator[str]:
        yield f'message = "{method.input_type.removeprefix(".")}"'
        yield f'body = "{rule.body}"'
        yield "bound = {" + ", ".join(f'["{name}"] = true' for name in rule.variables) + "}"
        if "." in (variable := rule.variables[0] if rule.variables else ""):
            # The body may say it again, as who sends back what was read does.
            before, _, after = VARIABLE.sub("\0", rule.template).partition("\0")
            name = variable.rpartition(".")[2]
            yield f'named = {{ field = "{name}", before = "{before}", after = "{after}" }}'
        if rule.is_google_style:
            yield "envelope = true"
        if rule.verb == "HEAD":
            yield "head = true"
        if rule in method.connect_rules:
            yield "connect = true"
            if method.streaming:
                yield "stream = true"
            if method.waits:
                yield "waits = true"
        if method.is_page:
            yield f'page = "{rule.folder}"'
        elif _body_type(descriptors, method, rule) == _HTTP_BODY:
            yield "raw = true"

    return "{ " + ", ".join(parts()) + " }"


def _body_type(descriptors: DescriptorSet, method: Method, rule: Rule) -> str:
    if rule.body == "*":
        return method.input_type
    fields = descriptors.messages[method.input_type].field
    return next((field.type_name for field in fields if field.name == rule.body), "")
