"""Paths of google.api.http annotations as paths of OpenAPI."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from gateway.http_rules import VARIABLE, parse_rules


@dataclass(frozen=True, slots=True)
class Variable:
    """A parameter `name` in a path; it sets `field`, wholly or what follows `prefix` in it.

    `path` leads to the field by names in JSON: `webhook.name`.
    """

    name: str
    field: FieldDescriptor
    path: str
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
    rules = parse_rules(method.GetOptions().Extensions[annotations_pb2.http])
    for index, rule in enumerate(rules):
        path, variables = _parse(rule.template, method.input_type)
        bound = frozenset(rule.variables)
        yield Binding(method, index, rule.verb.lower(), path, tuple(variables), bound, rule.body)


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


def _parse(template: str, message: Descriptor) -> tuple[str, list[Variable]]:
    """Turns `/v1/{name=shelves/*}:buy` into `/v1/shelves/{shelvesId}:buy`, as Google's own do.

    OpenAPI has no parameters of several segments: `**` becomes one of a single segment.
    """
    variables: list[Variable] = []

    def replace(found: re.Match[str]) -> str:
        field, path = find_field(message, found["field"]), _json_path(message, found["field"])
        segments = (found["segments"] or "*").split("/")
        for index, segment in enumerate(segments):
            if segment in ("*", "**"):
                prefix = segments[index - 1] if index else ""
                name = prefix + "Id" if prefix else path
                variables.append(Variable(name, field, path, prefix))
                segments[index] = "{" + name + "}"
        return "/".join(segments)

    return VARIABLE.sub(replace, template), variables
