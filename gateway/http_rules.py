"""What the descriptor set says about methods and their `google.api.http` rules.

The grammar of path templates and the meaning of `body` are those of google/api/http.proto.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from contract.method_options import is_open_to_all, only_reads

# A variable of a path template: the field that it fills, and the segments that it takes.
VARIABLE = re.compile(r"\{(?P<field>[\w.]+)(?:=(?P<segments>[^}]*))?\}")
# A raw colon would be read as the start of a verb, so in a value it has to be written %3A.
_ONE_SEGMENT = "[^/:]+"
_SEGMENTS = f"{_ONE_SEGMENT}(?:/{_ONE_SEGMENT})*"
_DURATION = ".google.protobuf.Duration"
# What paths of the Google-style dialect begin with; all others are published ones.
GOOGLE_STYLE = "/v1/"
# How services of pages for browsers are called.
_PAGES = "PageService"
# And those that send the streams of another service as bytes: EventStreamService, EventService's.
_BYTES, _MESSAGES = "StreamService/", "Service/"


@dataclass(frozen=True, slots=True)
class Rule:
    """One REST binding of a method. `body` is "", "*" or the name of the field that the body fills."""

    verb: str
    template: str
    body: str

    @property
    def name(self) -> str:
        """How the rule is called in routes and logs; holds nothing that a caller sent."""
        return f"{self.verb} {self.template}"

    @property
    def folder(self) -> str:
        """The template up to its first variable."""
        return self.template.partition("{")[0]

    @property
    def is_google_style(self) -> bool:
        """Whether errors come in Google's envelope (AIP-193), not as the bare status."""
        return self.template.startswith(GOOGLE_STYLE)

    @property
    def variables(self) -> list[str]:
        """Field paths that the path fills: `operation_id`."""
        return [match["field"] for match in VARIABLE.finditer(self.template)]

    @property
    def pattern(self) -> str:
        """The template as a regular expression (RE2) for a whole path."""
        segments = VARIABLE.sub(lambda match: match["segments"] or "*", self.template)
        kinds = {"**": _SEGMENTS, "*": _ONE_SEGMENT}
        return "".join(
            kinds.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", segments)
        )


@dataclass(frozen=True)
class Method:
    """One method of an exposed service."""

    path: str
    input_type: str
    output_type: str
    streaming: bool
    waits: bool
    open_to_all: bool
    only_reads: bool
    rules: tuple[Rule, ...]

    @property
    def is_page(self) -> bool:
        """Whether it is for people alone: they get a page, whatever they ask for and goes wrong."""
        return self.path.rpartition("/")[0].endswith(_PAGES)

    @property
    def rest_rules(self) -> tuple[Rule, ...]:
        """The REST bindings of a method that is no page; HEAD goes wherever GET does, streams aside,
        whose length nobody knows."""
        if self.is_page:
            return ()
        heads = (replace(rule, verb="HEAD") for rule in self.rules if rule.verb == "GET")
        return (*self.rules, *(() if self.streaming else heads))

    @property
    def connect_rules(self) -> tuple[Rule, ...]:
        """By which Connect's JSON is transcoded.

        The transcoder can't write the frames of a stream: those come from the method that sends the
        same stream as bytes, so the rule's path is of another method than this.
        """
        if self.is_page or (self.streaming and _BYTES not in self.path):
            return ()
        path = self.path.replace(_BYTES, _MESSAGES) if self.streaming else self.path
        return (Rule("POST", path, "*"),)

    @property
    def is_polled(self) -> bool:
        """Whether it answers with the published Operation, whose clients ask again after a while."""
        return self.output_type == ".yandex.cloud.operation.Operation"


class DescriptorSet:
    """The compiled protos, with everything they import."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._files = files.file

    @classmethod
    def read(cls, file: Path) -> Self:
        return cls(descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()))

    @cached_property
    def messages(self) -> dict[str, descriptor_pb2.DescriptorProto]:
        """Every message type by its full name with a leading dot, as fields refer to it."""

        def nested(
            prefix: str, message: descriptor_pb2.DescriptorProto
        ) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
            name = f"{prefix}.{message.name}"
            yield name, message
            for inner in message.nested_type:
                yield from nested(name, inner)

        return {
            name: message
            for file in self._files
            for top in file.message_type
            for name, message in nested(f".{file.package}", top)
        }

    @cached_property
    def enums(self) -> dict[str, descriptor_pb2.EnumDescriptorProto]:
        """Every enumeration by its full name with a leading dot."""
        tops = {
            f".{file.package}.{each.name}": each for file in self._files for each in file.enum_type
        }
        inner = {
            f"{name}.{each.name}": each
            for name, message in self.messages.items()
            for each in message.enum_type
        }
        return tops | inner

    @cached_property
    def services(self) -> dict[str, list[Method]]:
        """The exposed services: our own and google.longrunning.Operations, by full name."""
        return {
            f"{file.package}.{service.name}": [
                self._method(f"{file.package}.{service.name}", method) for method in service.method
            ]
            for file in self._files
            for service in file.service
            if not file.package.startswith("google.") or file.package == "google.longrunning"
        }

    @property
    def methods(self) -> list[Method]:
        return [method for methods in self.services.values() for method in methods]

    @property
    def page_folders(self) -> list[str]:
        """What the paths of pages begin with, like `/invitations/`."""
        rules = (rule for method in self.methods if method.is_page for rule in method.rules)
        return sorted({rule.folder for rule in rules})

    def for_transcoder(self) -> bytes:
        """Returns the set with a binding more for each method: that of Connect's JSON."""
        files = descriptor_pb2.FileDescriptorSet()
        files.file.extend(self._files)
        rules = {method.path: method.connect_rules for method in self.methods}
        for file in files.file:
            for service in file.service:
                for method in service.method:
                    path = f"/{file.package}.{service.name}/{method.name}"
                    for added in rules.get(path, ()):
                        rule = method.options.Extensions[annotations_pb2.http]
                        binding = rule.additional_bindings.add() if rule.ListFields() else rule
                        binding.post, binding.body = added.template, added.body
        return files.SerializeToString(deterministic=True)

    def _method(self, service: str, method: descriptor_pb2.MethodDescriptorProto) -> Method:
        fields = self.messages[method.input_type].field
        return Method(
            path=f"/{service}/{method.name}",
            input_type=method.input_type,
            output_type=method.output_type,
            streaming=method.client_streaming or method.server_streaming,
            # A request that carries a timeout asks to be held until then: WaitOperation.
            waits=any(field.name == "timeout" and field.type_name == _DURATION for field in fields),
            open_to_all=is_open_to_all(f"{service}.{method.name}", method.options),
            only_reads=only_reads(f"{service}.{method.name}", method.options),
            rules=tuple(parse_rules(method.options.Extensions[annotations_pb2.http])),
        )


def parse_rules(rule: http_pb2.HttpRule) -> Iterator[Rule]:
    """Returns the bindings of an annotation, the main one first; none where there is none."""
    kind = rule.WhichOneof("pattern")
    if kind == "custom":
        yield Rule(rule.custom.kind, rule.custom.path, rule.body)
    elif kind:
        yield Rule(kind.upper(), getattr(rule, kind), rule.body)
    for additional in rule.additional_bindings:
        yield from parse_rules(additional)
