"""Health and reflection: grpcio's own servicers, with messages read as those of all other calls.

Its handlers call a message that can't be parsed UNKNOWN, and never answer one that is not whole.
Its reflection has neither methods nor the final version of the protocol, its health no List.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from server.domain.errors import BillingError
from server.rpc.pipeline.abort import abort
from server.rpc.pipeline.call_context import ServicerContext
from server.rpc.pipeline.caller_address import CallerAddresses
from server.rpc.pipeline.errors import CODES
from server.rpc.pipeline.limits import CallLimits
from server.rpc.pipeline.message_reader import MessageReader, parse, unpacked
from server.rpc.pipeline.request_id import request_id_of
from server.rpc.pipeline.router import Router
from server.telemetry.metrics import MethodCalls, calls_of

# A request holds a name or two; the message of a watch stays in memory as long as the watch.
_MOST_BYTES = 4096
# Reflection's next question comes within this, or the stream ends.
_NEXT_S = 15.0


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


def _pool_with_list(names: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """Returns a pool with the files of these services, where grpc.health.v1.Health has List.

    The package that is pinned was made before the method; a loaded file can't be changed.
    """
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for needed in file.dependencies:
            add(needed)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        if file.name == health_pb2.DESCRIPTOR.name:
            _add_list(proto)
        pool.Add(proto)

    for name in names:
        add(descriptor_pool.Default().FindFileContainingSymbol(name))
    # What the details of errors are made of; no service refers to it.
    add(error_details_pb2.DESCRIPTOR)
    return pool


def _add_list(health_file: descriptor_pb2.FileDescriptorProto) -> None:
    """Adds List as grpc/health/v1/health.proto has had it since 2025."""
    health_file.message_type.add(name="HealthListRequest")
    answer = health_file.message_type.add(name="HealthListResponse")
    statuses = f".{health_file.package}.HealthListResponse.StatusesEntry"
    kinds = descriptor_pb2.FieldDescriptorProto
    answer.field.add(
        name="statuses",
        number=1,
        label=kinds.LABEL_REPEATED,
        type=kinds.TYPE_MESSAGE,
        type_name=statuses,
    )
    entry = answer.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=kinds.LABEL_OPTIONAL,
        type=kinds.TYPE_MESSAGE,
        type_name=f".{health_file.package}.HealthCheckResponse",
    )
    package = f".{health_file.package}."
    health_file.service[0].method.add(
        name="List",
        input_type=f"{package}HealthListRequest",
        output_type=f"{package}HealthListResponse",
    )


class Health(health.aio.HealthServicer):
    """Knows the health of the whole server ("") and of each of its services by name."""

    _server_status: dict[str, Any]

    def serve(self, names: Iterable[str]) -> None:
        """Calls the services healthy."""
        self._server_status |= dict.fromkeys(names, health_pb2.HealthCheckResponse.SERVING)

    async def set_all(self, serving: bool) -> None:
        """Says whether the server and all its services can do their work."""
        status = health_pb2.HealthCheckResponse
        for name in list(self._server_status):
            await self.set(name, status.SERVING if serving else status.NOT_SERVING)

    def list_statuses(self) -> dict[str, Any]:
        """Returns the status of the server ("") and of each service."""
        return dict(self._server_status)


class _Reflection(reflection.aio.ReflectionServicer):
    """Finds methods too, and describes each file once: a millisecond, which strangers may ask for without end."""

    _pool: Any

    def __init__(self, names: Iterable[str], pool: descriptor_pool.DescriptorPool) -> None:
        theirs: Any = super()
        theirs.__init__(names, pool)
        self._described: dict[str, Any] = {}

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        try:
            method = self._pool.FindMethodByName(fully_qualified_name)
        except KeyError:
            found = fully_qualified_name
        else:
            found = method.containing_service.full_name
        try:
            file = self._pool.FindFileContainingSymbol(found)
        except KeyError:
            theirs: Any = super()
            return theirs._file_containing_symbol(request, found)  # noqa: SLF001 - its own class's
        return self._file_by_filename(request, file.name)

    def _file_containing_extension(self, request: Any, containing_type: str, number: int) -> Any:
        try:
            message = self._pool.FindMessageTypeByName(containing_type)
            extension = self._pool.FindExtensionByNumber(message, number)
        except KeyError:
            theirs: Any = super()
            return theirs._file_containing_extension(request, containing_type, number)  # noqa: SLF001
        return self._file_containing_symbol(request, extension.full_name)

    def _file_by_filename(self, request: Any, filename: str) -> Any:
        described = self._described.get(filename)
        if described is None:
            theirs: Any = super()
            answer = theirs._file_by_filename(request, filename)  # noqa: SLF001
            if not answer.HasField("file_descriptor_response"):
                return answer
            described = self._described[filename] = answer.file_descriptor_response
        return reflection_pb2.ServerReflectionResponse(
            file_descriptor_response=described, original_request=request
        )


def add_standard_services(
    router: Router,
    healthy: Health,
    names: list[str],
    limits: CallLimits,
    addresses: CallerAddresses,
) -> None:
    """Adds health and reflection, which tell of the services with these names and of themselves."""
    collector: Any = _HandlerCollector(router, limits, addresses)
    all_names = [*names, health.SERVICE_NAME, *_REFLECTION]
    healthy.serve(all_names)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, collector)
    pool = _pool_with_list(all_names)
    asked, answered = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))
        for name in ("HealthListRequest", "HealthListResponse")
    )

    async def list_health(_request: Any, _context: ServicerContext) -> Any:
        statuses = healthy.list_statuses()
        return answered(statuses={name: {"status": status} for name, status in statuses.items()})

    lists: Any = grpc.unary_unary_rpc_method_handler(
        list_health,
        request_deserializer=asked.FromString,
        response_serializer=answered.SerializeToString,
    )
    reflect = grpc.stream_stream_rpc_method_handler(
        _Reflection(all_names, pool).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    collector.add_registered_method_handlers(health.SERVICE_NAME, {"List": lists})
    for service in _REFLECTION:
        collector.add_registered_method_handlers(service, {"ServerReflectionInfo": reflect})


class _HandlerCollector:
    """Takes the handlers that generated code adds to a server, and adds them to our router."""

    def __init__(self, router: Router, limits: CallLimits, addresses: CallerAddresses) -> None:
        self._router = router
        self._addresses = addresses
        self._reader = limits.anonymous_reader
        self._streams = limits.anonymous_streams
        self._next_questions = MessageReader(limits.max_anonymous_calls, _NEXT_S)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Does nothing: the same handlers come one by one."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Adds a service's methods to those of the real server."""
        ours = {
            name: self._handler(f"{service}.{name}", handler) for name, handler in handlers.items()
        }
        self._router.add(service, ours)

    def _handler(
        self, name: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        from_bytes: Any = handler.request_deserializer
        counted = calls_of(name)
        theirs: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

        async def more(first: bytes, context: ServicerContext) -> AsyncIterator[Any]:
            raw: bytes | None = first
            while raw is not None:
                yield parse(from_bytes, unpacked(raw, _MOST_BYTES), name)
                raw = await self._next_questions.next(context)

        async def unary(_: object, context: ServicerContext) -> Any:
            async with _errors_as_status(context), _counted(counted):
                raw = await self._reader.read(context, _MOST_BYTES)
                return await theirs(parse(from_bytes, raw, name), context)

        async def stream(_: object, context: ServicerContext) -> None:
            async with _errors_as_status(context), _counted(counted):
                first = await self._reader.read(context, _MOST_BYTES)
                headers = dict(context.invocation_metadata() or ())
                address = self._addresses.of(headers, context.peer())
                self._streams.acquire(address)
                try:
                    if handler.request_streaming:
                        async for answer in theirs(more(first, context), context):
                            await context.write(answer)
                    else:
                        await theirs(parse(from_bytes, first, name), context)
                finally:
                    self._streams.release(address)

        serialize = handler.response_serializer
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(unary, response_serializer=serialize)
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=serialize)


@asynccontextmanager
async def _counted(calls: MethodCalls) -> AsyncIterator[None]:
    """Counts a call."""
    began = time.perf_counter()
    code = grpc.StatusCode.CANCELLED.value[0]
    try:
        yield
        code = grpc.StatusCode.OK.value[0]
    except BillingError as error:
        code = CODES[error.reason]
        raise
    finally:
        calls.ended(code, time.perf_counter() - began)


@asynccontextmanager
async def _errors_as_status(context: ServicerContext) -> AsyncIterator[None]:
    """Answers what the caller did wrong with a status."""
    try:
        yield
    except BillingError as error:
        await abort(context, error, request_id_of(dict(context.invocation_metadata() or ())))
