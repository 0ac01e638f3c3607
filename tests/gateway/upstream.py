"""A real gRPC server that knows every method of the descriptor set and answers as it is told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from server.domain.errors import BillingError
from server.rpc.pipeline import unreadable
from server.rpc.pipeline.abort import abort

Context = Any
Answer = Callable[[Any, Context], Awaitable[Message | None]]


@dataclass(frozen=True)
class Call:
    """What arrived."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    remaining_s: float | None


async def _refuse(metadata: dict[str, Any], context: Context) -> Message:
    """Refuses what the gateway could not read as our servers do, of which nothing else is looked at here."""
    try:
        unreadable.refuse_unreadable(metadata[unreadable.HEADER], Empty(), (), "")
    except BillingError as error:
        return await abort(context, error, metadata["x-request-id"])


class Upstream(grpc.GenericRpcHandler):
    """Answers each call with the method's empty response, or as `answers[method path]` does."""

    def __init__(self, descriptors: Path) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Answer] = {}
        self.pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file:
            self.pool.Add(file)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    def message(self, name: str) -> type[Any]:
        """Returns the class of a message type, made from the descriptor set."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def forget(self) -> None:
        """Forgets the answers that were set and the calls that came."""
        self.answers.clear()
        self.calls.clear()

    async def start(self, address: str) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                # It is asked for signs of life as often as our servers.
                ("grpc.http2.min_ping_interval_without_data_ms", 1000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        self._server.add_generic_rpc_handlers((self,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([reflection.SERVICE_NAME], self._server)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self, grace_s: float | None = None) -> None:
        if self._server:
            await self._server.stop(grace_s)

    async def set_serving(self, serving: bool) -> None:
        """Says whether health checks pass."""
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if serving else status.NOT_SERVING)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        path = str(handler_call_details.method)
        service, _, name = path[1:].partition("/")
        try:
            method = self.pool.FindServiceByName(service).methods_by_name[name]
        except KeyError:
            return None
        asked = message_factory.GetMessageClass(method.input_type)
        answered = message_factory.GetMessageClass(method.output_type)

        async def answer(request: Message, context: Context) -> Message:
            metadata = dict(context.invocation_metadata() or ())
            if unreadable.HEADER in metadata:
                return await _refuse(metadata, context)
            self.calls.append(Call(path, request, metadata, context.time_remaining()))
            written = self.answers.get(path)
            return (await written(request, context) if written else None) or answered()

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=asked.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
