"""The OpenAPI 3.1 description of the REST surface, made from the protos."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.descriptor import Descriptor
from yandex.cloud.api import operation_pb2

from gateway.openapi import overrides, responses
from gateway.openapi.operations import PARAMETERS, Operations
from gateway.openapi.protos import DESCRIPTORS, Protos, load
from gateway.openapi.schemas import Schemas
from gateway.openapi.templates import bindings

_ROOT = Path(__file__).parents[2]
DOCUMENT = _ROOT / "gen" / "openapi.json"

_YANDEX_OPERATION = "yandex.cloud.operation.Operation"
_GOOGLE_OPERATION = "google.longrunning.Operation"

# What stands in backticks, and in it what can be a field's name in a proto.
_CODE = re.compile("`[^`]+`")
_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b")


def write(path: Path = DOCUMENT) -> None:
    """Writes the document, the same bytes for the same protos."""
    path.write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def document(descriptors: Path = DESCRIPTORS) -> dict[str, Any]:
    """Returns the document as JSON values; fields stand in the order of the protos."""
    protos = load(descriptors)
    comments = _in_json(protos.comments | overrides.COMMENTS)
    schemas = Schemas(comments, _request_types(protos), _packed(protos))
    operations = Operations(schemas, comments)
    paths: dict[str, dict[str, Any]] = {}
    for method in protos.methods:
        for binding in bindings(method):
            paths.setdefault(binding.path, {})[binding.verb] = operations.operation(binding)
    status = protos.message("google.rpc.Status")
    schemas.reference(status)
    schemas.components[responses.ENVELOPE] = responses.envelope(
        schemas.components[status.full_name]
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing API",
            "version": _version(),
            "description": Path(__file__).with_name("overview.md").read_text(encoding="utf-8"),
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": service.full_name, "description": comments.get(service.full_name, "")}
            for service in protos.services
        ],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": responses.components(),
            "headers": responses.HEADERS,
            "parameters": PARAMETERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An IAM token."}
            },
        },
    }


def _in_json(comments: Mapping[str, str]) -> dict[str, str]:
    """Returns the comments with fields named as this document names them: `createTime`."""
    fields = {name.rpartition(".")[2] for name in comments}

    def renamed(name: re.Match[str]) -> str:
        first, *rest = name[0].split("_")
        return first + "".join(map(str.capitalize, rest)) if name[0] in fields else name[0]

    def code(text: re.Match[str]) -> str:
        return _NAME.sub(renamed, text[0])

    return {name: _CODE.sub(code, comment) for name, comment in comments.items()}


def _version() -> str:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _request_types(protos: Protos) -> frozenset[str]:
    """Returns the names of all messages that a request may consist of."""
    found: set[str] = set()
    waiting = [method.input_type for method in protos.methods]
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found.add(message.full_name)
            waiting += [field.message_type for field in message.fields if field.message_type]
    return frozenset(found)


def _packed(protos: Protos) -> dict[str, list[Descriptor]]:
    """Returns what each Any field may hold; for operations, by the options of the methods."""
    found: dict[str, dict[str, Descriptor]] = {}
    for method in protos.methods:
        options = method.GetOptions().Extensions
        published, ours = options[operation_pb2.operation], options[operations_pb2.operation_info]
        for field, name in (
            (f"{_YANDEX_OPERATION}.metadata", published.metadata),
            (f"{_YANDEX_OPERATION}.response", published.response),
            (f"{_GOOGLE_OPERATION}.metadata", ours.metadata_type),
            (f"{_GOOGLE_OPERATION}.response", ours.response_type),
        ):
            if name:
                message = protos.message(name, package=method.containing_service.file.package)
                found.setdefault(field, {})[message.full_name] = message
    for field, names in (
        ("metadata", overrides.PUBLISHED_METADATA),
        ("response", overrides.PUBLISHED_RESPONSES),
    ):
        for name in filter(protos.has_message, names):
            found[f"{_GOOGLE_OPERATION}.{field}"][name] = protos.message(name)
    packed = {
        "google.rpc.Status.details": [protos.message(name) for name in overrides.ERROR_DETAILS],
        "billing.v1.Event.data": [
            protos.message(name) for name in overrides.EVENT_DATA if protos.has_message(name)
        ],
    }
    return packed | {field: list(messages.values()) for field, messages in found.items()}
