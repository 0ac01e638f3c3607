"""The floor: an asyncio servicer that does nothing, under uvloop.

It is put together as generated code does it, without that code, which refuses other versions of
grpcio than its own: `bench.grpcio` runs this on several.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop
from yandex.cloud.billing.v1 import customer_service_pb2
from yandex.cloud.operation import operation_pb2, operation_service_pb2


async def answer(_request: Any, _context: Any) -> operation_pb2.Operation:
    """Answers any call with an empty operation."""
    return operation_pb2.Operation()


def handlers(service: str, methods: dict[str, Any]) -> grpc.GenericRpcHandler:
    """Returns the handlers of methods, given by name with the type of their request."""
    behaviour: Callable[[Any, Any], Awaitable[operation_pb2.Operation]] = answer
    return grpc.method_handlers_generic_handler(
        service,
        {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour,
                request_deserializer=request.FromString,
                response_serializer=operation_pb2.Operation.SerializeToString,
            )
            for name, request in methods.items()
        },
    )


async def serve(address: str) -> None:
    """Serves until it is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (
            handlers(
                "yandex.cloud.billing.v1.CustomerService",
                {"Invite": customer_service_pb2.InviteCustomerRequest},
            ),
            handlers(
                "yandex.cloud.operation.OperationService",
                {"Get": operation_service_pb2.GetOperationRequest},
            ),
        )
    )
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(None)
    uvloop.run(serve(sys.argv[1]))
