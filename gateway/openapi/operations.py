"""OpenAPI operations from bindings: parameters, body, answers, security."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from contract.method_options import is_open_to_all, only_reads
from gateway.http_rules import GOOGLE_STYLE
from gateway.openapi import constraints, examples, overrides, responses
from gateway.openapi.schemas import Schema, Schemas, is_well_known
from gateway.openapi.templates import Binding, Variable, json_name

_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

PARAMETERS: dict[str, Any] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes it safe to try again: the same key with the same request does nothing twice.",
        # No `format`: generated clients would hand a UUID to HTTP libraries, which take texts alone.
        "schema": {"type": "string", "pattern": _UUID},
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Counts in the place of `after`. A browser's EventSource sends it by itself, with "
        "the `id` of the last event that it got, when it opens the stream again.",
        "schema": {"type": "string", "maxLength": 150},
        "example": "evt000000000041k3m9p2s7",
    },
}


class Operations:
    """Makes operations; the schemas that they refer to gather in `schemas`."""

    def __init__(self, schemas: Schemas, comments: Mapping[str, str]) -> None:
        self._schemas = schemas
        self._comments = comments

    def operation(self, binding: Binding) -> dict[str, Any]:
        """Returns the OpenAPI operation of one binding."""
        method = binding.method
        service = method.containing_service
        suffix = str(binding.index + 1) if binding.index else ""
        made: dict[str, Any] = {
            "operationId": f"{service.name}.{method.name}{suffix}",
            "tags": [service.full_name],
        }
        comment = self._comments.get(method.full_name, "")
        summary, _, rest = comment.partition("\n\n")
        made |= {"summary": summary.removesuffix(".")} if summary else {}
        made |= {"description": rest} if rest else {}
        if method.GetOptions().deprecated:
            made["deprecated"] = True
        parameters = list(self._parameters(binding))
        if parameters:
            made["parameters"] = parameters
        if binding.body:
            made["requestBody"] = self._body(binding)
        made["responses"] = self._responses(binding)
        if is_open_to_all(method.full_name, method.GetOptions()):
            made["security"] = []
        return made

    def _parameters(self, binding: Binding) -> Iterator[dict[str, Any]]:
        for variable in binding.variables:
            yield self._in_path(variable, binding.method)
        if binding.body != "*":
            message = binding.method.input_type
            example = examples.REQUESTS.get(message.full_name, {})
            for path, field in _query_fields(message, binding):
                yield self._in_query(path, field, example)
        if binding.method.server_streaming:
            yield {"$ref": "#/components/parameters/LastEventId"}
        if not only_reads(binding.method.full_name, binding.method.GetOptions()):
            yield {"$ref": "#/components/parameters/IdempotencyKey"}

    def _in_path(self, variable: Variable, method: MethodDescriptor) -> dict[str, Any]:
        schema = self._schemas.field(variable.field, in_request=True, in_query=True)
        description = schema.pop("description", "")
        example: Any = examples.REQUESTS.get(method.input_type.full_name)
        for part in variable.path.split("."):
            example = example and example.get(part)
        if variable.prefix:
            description = f"What follows `{variable.prefix}/` in its name."
            schema |= {"pattern": constraints.SEGMENT, "maxLength": constraints.LONGEST_SEGMENT}
            example = example and example.rpartition("/")[2]
        if schema["type"] == "string":
            schema.setdefault("minLength", 1)
        return _parameter("path", variable.name, description, schema, example, required=True)

    def _in_query(
        self, path: str, field: FieldDescriptor, example: Mapping[str, Any]
    ) -> dict[str, Any]:
        schema = self._schemas.field(field, in_request=True, in_query=True)
        description = schema.pop("description", "")
        made = _parameter(
            "query",
            path,
            description,
            schema,
            example.get(json_name(field)),
            required=constraints.is_required(field),
        )
        if schema.pop("deprecated", False):
            made["deprecated"] = True
        return made

    def _body(self, binding: Binding) -> dict[str, Any]:
        message = binding.method.input_type
        example = examples.REQUESTS.get(message.full_name, {})
        if binding.body == "*":
            left = [field for field in message.fields if field.name not in binding.bound]
            whole = len(left) == len(message.fields)
            schema = (
                self._schemas.reference(message) if whole else self._schemas.message(message, left)
            )
            example = {json_name(f): example[json_name(f)] for f in left if json_name(f) in example}
            required = any(map(constraints.is_required, left))
        else:
            field = message.fields_by_name[binding.body]
            schema = (
                # Passed on as it is, whatever its fields.
                {"type": "object"}
                if field.message_type and field.message_type.full_name == "google.api.HttpBody"
                else self._schemas.field(field, in_request=True)
            )
            example = example.get(json_name(field), {})
            required = constraints.is_required(field)
        return {
            "required": required,
            "content": {"application/json": {"schema": schema, "example": example}},
        }

    def _responses(self, binding: Binding) -> dict[str, Any]:
        method = binding.method
        bodies = examples.RESPONSES.get(method.full_name, {})
        if method.server_streaming:
            content = self._stream(method, bodies)
        else:
            schema = self._schemas.reference(method.output_type)
            content = {"application/json": _content(schema, bodies)}
        answer = {
            "description": "OK",
            "headers": responses.headers(
                polled=method.output_type.full_name == "yandex.cloud.operation.Operation"
            ),
            "content": content,
        }
        links = overrides.LINKS.get(method.output_type.full_name, {})
        if links:
            answer["links"] = {
                title: {"operationId": wanted, "parameters": {name: f"$response.body#{pointer}"}}
                for title, (wanted, name, pointer) in links.items()
            }
        failures = responses.statuses(
            secured=not is_open_to_all(method.full_name, method.GetOptions()),
            wrong_proof=overrides.WRONG_PROOF.get(method.full_name, ()),
            in_path=bool(binding.variables),
            body=bool(binding.body),
            changes=not only_reads(method.full_name, method.GetOptions()),
        )
        return {"200": answer} | responses.references(
            failures, in_envelope=binding.path.startswith(GOOGLE_STYLE)
        )

    def _stream(self, method: MethodDescriptor, bodies: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what one line of a stream, or the data of one server-sent event, can be."""
        find = method.containing_service.file.pool.FindMessageTypeByName
        message = self._schemas.reference(find(overrides.STREAMED[method.full_name]))
        # Closes a stream that the server ends.
        end = {"$ref": f"#/components/schemas/{responses.ENVELOPE}"}
        content = _content({"anyOf": [message, end]}, {**bodies, "The end": examples.STREAM_ENDS})
        return {"application/x-ndjson": content, "text/event-stream": content}


def _content(schema: Schema, bodies: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": schema,
        "examples": {
            title.replace(" ", ""): {"summary": title, "value": body}
            for title, body in bodies.items()
        },
    }


def _query_fields(
    message: Descriptor, binding: Binding, prefix: str = "", names: str = ""
) -> Iterator[tuple[str, FieldDescriptor]]:
    """Yields the fields that a query can set, with the names that they have there."""
    for field in message.fields:
        path, name = prefix + field.name, names + json_name(field)
        if path in binding.bound or path == binding.body:
            continue
        inner = field.message_type
        if inner is None or is_well_known(inner):
            yield name, field
        elif not field.is_repeated:  # A query can't set messages in lists and maps.
            yield from _query_fields(inner, binding, path + ".", name + ".")


def _parameter(
    place: str, name: str, description: str, schema: Schema, example: Any, *, required: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "in": place, "required": required}
    made |= {"description": description} if description else {}
    made["schema"] = schema
    made |= {"example": example} if example is not None else {}
    return made
