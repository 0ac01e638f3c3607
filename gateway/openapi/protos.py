"""The services that have REST paths, and the comments of our protos, from the descriptor set."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

DESCRIPTORS = Path(__file__).parents[2] / "gen" / "descriptors.pb"


@dataclass(frozen=True, slots=True)
class Protos:
    """`services` have a REST path each at least; `comments` are Markdown by full name."""

    services: tuple[ServiceDescriptor, ...]
    comments: dict[str, str]
    _pool: DescriptorPool

    @property
    def methods(self) -> Iterator[MethodDescriptor]:
        """All methods with a REST path."""
        for service in self.services:
            yield from (method for method in service.methods if _has_path(method))

    def has_message(self, full_name: str) -> bool:
        """Tells whether there is a message of this name."""
        try:
            self._pool.FindMessageTypeByName(full_name)
        except KeyError:
            return False
        return True

    def message(self, full_name: str, *, package: str = "") -> Descriptor:
        """Returns a message by its full name, or by its name within a package."""
        try:
            found: Descriptor = self._pool.FindMessageTypeByName(full_name)
        except KeyError:
            found = self._pool.FindMessageTypeByName(f"{package}.{full_name}")
        return found


def load(path: Path = DESCRIPTORS) -> Protos:
    """Reads a FileDescriptorSet that was made with imports and source info."""
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
    pool = DescriptorPool()
    comments: dict[str, str] = {}
    for file in files:
        pool.Add(file)
        # Google's comments are about all services in the world; overrides.COMMENTS stands in for them.
        if not file.package.startswith("google."):
            comments.update(_comments(file))
    services = [
        pool.FindServiceByName(f"{file.package}.{service.name}")
        for file in files
        for service in file.service
    ]
    served = [service for service in services if any(map(_has_path, service.methods))]
    # The published services come first.
    served.sort(
        key=lambda service: (not service.full_name.startswith("yandex."), service.full_name)
    )
    return Protos(tuple(served), comments, pool)


def _has_path(method: MethodDescriptor) -> bool:
    """Tells whether programs can call it by REST; pages are for people, and no part of the API."""
    is_page = method.output_type.full_name == "google.api.HttpBody" and not method.server_streaming
    return not is_page and method.GetOptions().HasExtension(annotations_pb2.http)


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _full_name(file, location.path) if location.leading_comments else None
        if name:
            yield name, _markdown(location.leading_comments)


def _full_name(file: descriptor_pb2.FileDescriptorProto, path: Any) -> str | None:
    """Returns the name of what a source path (field number, index, …) leads to, if it has one."""
    scope: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=len(path) % 2 == 0):
        field = scope.DESCRIPTOR.fields_by_number[number]
        if not field.is_repeated or field.message_type is None:
            return None
        scope = getattr(scope, field.name)[index]
        if not hasattr(scope, "name"):
            return None
        name += "." + scope.name
    return name if scope is not file and len(path) % 2 == 0 else None


def _markdown(comment: str) -> str:
    """Unwraps a comment's paragraphs."""
    paragraphs = re.split(r"\n\s*\n", comment.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
