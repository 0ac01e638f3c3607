"""Health and reflection: grpcio's own servicers, with messages read as those of all other calls.

Its handlers call a message that can't be parsed UNKNOWN, and never answer one that is not whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from server.api.calls import Handlers, Methods, abort, malformed, request_id_of
from server.api.requests import receive, unpacked
from server.domain.errors import BillingError

_Context = grpc.aio.ServicerContext[Any, Any]


def add_standard_services(
    methods: Methods, healthy: health.aio.HealthServicer, names: list[str], most_bytes: int
) -> None:
    """Adds health and reflection; `names` are the services that it tells of."""
    stand_in: Any = _StandIn(methods, most_bytes)
    add_reflection: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    health_pb2_grpc.add_HealthServicer_to_server(healthy, stand_in)
    add_reflection(reflection.aio.ReflectionServicer(names), stand_in)


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
