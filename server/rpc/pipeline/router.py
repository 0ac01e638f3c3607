"""From the name of a method to what answers its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.abort import abort
from server.rpc.pipeline.call_context import ServicerContext
from server.rpc.pipeline.errors import CODES
from server.rpc.pipeline.request_id import request_id_of
from server.telemetry.metrics import calls_of

# Callers choose the names: all of them are counted as one.
_UNKNOWN = calls_of("unknown")
# A call's headers as they came.
Sent = tuple[tuple[str, str | bytes], ...]
# Answers a call: its headers, an iterator over messages that nobody uses, what grpc knows of it.
# None: it has sent a stream of messages.
Answer = Callable[[Sent, object, ServicerContext], Awaitable[Message | None]]


class _ForCall(grpc.RpcMethodHandler):  # type: ignore[type-arg] # it takes none when run
    """What answers one call, as grpc asks for it."""

    __slots__ = ("response_serializer", "stream_unary")

    request_streaming = True
    response_streaming = False
    request_deserializer = None

    def __init__(self, answer: Answer, serialize: Callable[[Any], bytes], sent: Sent) -> None:
        self.stream_unary: Any = partial(answer, sent)
        self.response_serializer: Any = serialize


class UnaryMethod:
    """A method that takes one message and answers with one.

    Each call has a handler of its own, which knows the headers: grpc reads them to find the handler,
    and would read them once more for whoever asks the call's context.
    """

    __slots__ = ("for_call",)

    def __init__(self, answer: Answer, serialize: Callable[[Any], bytes]) -> None:
        self.for_call: Callable[[Sent], _ForCall] = partial(_ForCall, answer, serialize)


class _StreamForCall(grpc.RpcMethodHandler):  # type: ignore[type-arg] # it takes none when run
    """The same for a stream of answers, which are bytes."""

    __slots__ = ("stream_stream",)

    request_streaming = True
    response_streaming = True
    request_deserializer = None
    response_serializer = None

    def __init__(self, answer: Answer, sent: Sent) -> None:
        self.stream_stream: Any = partial(answer, sent)


class StreamingMethod:
    """A method that takes one message and answers with a stream of them."""

    __slots__ = ("for_call",)

    def __init__(self, answer: Answer) -> None:
        self.for_call: Callable[[Sent], _StreamForCall] = partial(_StreamForCall, answer)


# A service's handlers by the name of the method.
Handlers = Mapping[str, "UnaryMethod | StreamingMethod | grpc.RpcMethodHandler[Any, Any]"]


class Router(grpc.GenericRpcHandler):
    """The handlers of all services in one table; grpc would ask one of each service in turn."""

    def __init__(self) -> None:
        self._handlers: dict[
            str, UnaryMethod | StreamingMethod | grpc.RpcMethodHandler[Any, Any]
        ] = {}
        self._unknown: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            _refuse_unknown
        )

    def add(self, service: str, handlers: Handlers) -> None:
        """Adds those of a service, given by its full name."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns the handler of the call's method, or what refuses an unknown one."""
        found = self._handlers.get(call.method, self._unknown)
        if isinstance(found, UnaryMethod):
            return found.for_call(call.invocation_metadata)
        if isinstance(found, StreamingMethod):
            return found.for_call(call.invocation_metadata)
        return found


async def _refuse_unknown(_: object, context: ServicerContext) -> Message:
    error = BillingError(
        Reason.METHOD_UNKNOWN, "There is no such method; see the server's reflection."
    )
    _UNKNOWN.ended(CODES[error.reason], 0.0)
    return await abort(context, error, request_id_of(dict(context.invocation_metadata() or ())))
