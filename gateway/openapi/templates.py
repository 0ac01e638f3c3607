"""Paths of google.api.http annotations as paths of OpenAPI."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

_VARIABLE = re.compile(r"\{(?P<field>[^}=]+)(?:=(?P<pattern>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """A parameter `name` in a path; it sets `field`, wholly or what follows `prefix` in it."""

    name: str
    field: FieldDescriptor
    prefix: str


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to call a method. `verb` is in lower case; `bound` are paths of fields by proto name."""

    method: MethodDescriptor
    index: int
    verb: str
    path: str
    variables: tuple[Variable, ...]
    bound: frozenset[str]
    body: str


def bindings(method: MethodDescriptor) -> Iterator[Binding]:
    """Returns all REST bindings of a method, the main one first."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for index, each in enumerate([rule, *rule.additional_bindings]):
        verb, template = _pattern(each)
        path, variables, bound = _parse(template, method.input_type)
        yield Binding(method, index, verb, path, tuple(variables), frozenset(bound), each.body)


def find_field(message: Descriptor, path: str) -> FieldDescriptor:
    """Returns the field that a dotted path of proto names leads to."""
    *parents, last = path.split(".")
    for parent in parents:
        message = message.fields_by_name[parent].message_type
    found: FieldDescriptor = message.fields_by_name[last]
    return found


def _json_path(message: Descriptor, path: str) -> str:
    parts = path.split(".")
    leads = (".".join(parts[: index + 1]) for index in range(len(parts)))
    return ".".join(json_name(find_field(message, lead)) for lead in leads)


def json_name(field: FieldDescriptor) -> str:
    """Returns the name of a field in JSON and in queries."""
    return str(field.json_name)  # type: ignore[attr-defined]  # The stubs lack it.


def _pattern(rule: http_pb2.HttpRule) -> tuple[str, str]:
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        return rule.custom.kind.lower(), rule.custom.path
    return kind, getattr(rule, kind)


def _parse(template: str, message: Descriptor) -> tuple[str, list[Variable], list[str]]:
    """Turns `/v1/{name=shelves/*}:buy` into `/v1/shelves/{shelvesId}:buy`, as Google's own do.

    OpenAPI has no parameters of several segments: `**` becomes one of a single segment.
    """
    variables: list[Variable] = []
    bound: list[str] = []

    def replace(found: re.Match[str]) -> str:
        field = find_field(message, found["field"])
        bound.append(found["field"])
        segments = (found["pattern"] or "*").split("/")
        for index, segment in enumerate(segments):
            if segment in ("*", "**"):
                prefix = segments[index - 1] if index else ""
                name = prefix + "Id" if prefix else _json_path(message, found["field"])
                variables.append(Variable(name, field, prefix))
                segments[index] = "{" + name + "}"
        return "/".join(segments)

    return _VARIABLE.sub(replace, template), variables, bound
