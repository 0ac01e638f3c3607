"""Health and reflection: grpcio's own servicers, with messages read as those of all other calls.

Its handlers call a message that can't be parsed UNKNOWN, and never answer one that is not whole.
Its reflection has neither methods nor the final version of the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from server.api.calls import Handlers, Methods, abort, malformed, request_id_of
from server.api.requests import receive, unpacked
from server.domain.errors import BillingError

# A name or two; whoever watches holds its message for as long.
_MOST_BYTES = 4096

_Context = grpc.aio.ServicerContext[Any, Any]


def _reflection_v1() -> str:
    """Describes version 1 of reflection, which is v1alpha but for its name; returns the service's name."""
    alpha, final = "grpc.reflection.v1alpha", "grpc.reflection.v1"
    file = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    text = json_format.MessageToJson(file).replace(alpha, final)
    file = json_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return reflection.SERVICE_NAME.replace(alpha, final)


_REFLECTION = (reflection.SERVICE_NAME, _reflection_v1())


class Health(health.aio.HealthServicer):
    """Knows the health of the whole server ("") and of each of its services by name."""

    _server_status: dict[str, Any]

    def serve(self, names: Iterable[str]) -> None:
        """Calls the services healthy."""
        self._server_status |= dict.fromkeys(names, health_pb2.HealthCheckResponse.SERVING)


class _Reflection(reflection.aio.ReflectionServicer):
    """Finds methods too."""

    _pool: Any

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        try:
            method = self._pool.FindMethodByName(fully_qualified_name)
        except KeyError:
            found = fully_qualified_name
        else:
            found = method.containing_service.full_name
        theirs: Any = super()
        return theirs._file_containing_symbol(request, found)  # noqa: SLF001 - its own class's


def add_standard_services(methods: Methods, healthy: Health, names: list[str]) -> None:
    """Adds health and reflection, which tell of the services with these names and of themselves."""
    stand_in: Any = _StandIn(methods, _MOST_BYTES)
    all_names = [*names, health.SERVICE_NAME, *_REFLECTION]
    healthy.serve(all_names)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, stand_in)
    reflect = grpc.stream_stream_rpc_method_handler(
        _Reflection(all_names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in _REFLECTION:
        stand_in.add_registered_method_handlers(service, {"ServerReflectionInfo": reflect})


class _StandIn:
    """Stands in for a server where generated code adds a servicer to one."""

    def __init__(self, methods: Methods, most_bytes: int) -> None:
        self._methods = methods
        self._most_bytes = most_bytes

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: the same handlers come one by one."""

    def add_registered_method_handlers(self, service: str, handlers: Handlers) -> None:
        """Adds a service's methods to those of the real server."""
        ours = {
            name: self._handler(f"{service}.{name}", handler) for name, handler in handlers.items()
        }
        self._methods.add(service, ours)

    def _handler(
        self, name: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        parse: Any = handler.request_deserializer
        theirs: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

        async def parsed(raw: bytes, context: _Context) -> Any:
            try:
                return parse(unpacked(raw, self._most_bytes))
            except DecodeError:
                return await _refuse(context, malformed(name))
            except BillingError as error:
                return await _refuse(context, error)

        async def one(context: _Context) -> Any:
            try:
                raw = await receive(context, self._most_bytes)
            except BillingError as error:
                return await _refuse(context, error)
            return await parsed(raw, context)

        async def many(requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
            async for raw in requests:
                yield await parsed(raw, context)

        async def unary(_: object, context: _Context) -> Any:
            return await theirs(await one(context), context)

        async def stream(requests: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
            async for answer in theirs(many(requests, context), context):
                yield answer

        serialize = handler.response_serializer
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(unary, response_serializer=serialize)
        return grpc.stream_stream_rpc_method_handler(
            stream if handler.request_streaming else unary, response_serializer=serialize
        )


async def _refuse(context: _Context, error: BillingError) -> Any:
    return await abort(context, error, request_id_of(dict(context.invocation_metadata() or ())))
