"""From the name of a method to what answers its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.abort import abort
from server.rpc.pipeline.call_context import ServicerContext
from server.rpc.pipeline.request_id import request_id_of

# A service's handlers by the name of the method.
Handlers = Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]


class Router(grpc.GenericRpcHandler):
    """The handlers of all services in one table; grpc would ask one of each service in turn."""

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._unknown: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            _refuse_unknown
        )

    def add(self, service: str, handlers: Handlers) -> None:
        """Adds those of a service, given by its full name."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns the handler of the call's method, or what refuses an unknown one."""
        return self._handlers.get(call.method, self._unknown)


async def _refuse_unknown(_: object, context: ServicerContext) -> Message:
    error = BillingError(
        Reason.METHOD_UNKNOWN, "There is no such method; see the server's reflection."
    )
    return await abort(context, error, request_id_of(dict(context.invocation_metadata() or ())))
