"""The floor: an asyncio servicer made the documented way that does nothing, under uvloop."""

import asyncio
import sys
from typing import Any

import grpc
import uvloop
from yandex.cloud.billing.v1 import customer_service_pb2, customer_service_pb2_grpc
from yandex.cloud.operation import operation_pb2, operation_service_pb2, operation_service_pb2_grpc


class Customers(customer_service_pb2_grpc.CustomerServiceServicer):
    """Answers each Invite with an empty operation."""

    async def Invite(  # noqa: N802 - the RPC's name
        self, _request: customer_service_pb2.InviteCustomerRequest, _context: Any
    ) -> operation_pb2.Operation:
        return operation_pb2.Operation()


class Operations(operation_service_pb2_grpc.OperationServiceServicer):
    """Answers each Get with an empty operation."""

    async def Get(  # noqa: N802 - the RPC's name
        self, _request: operation_service_pb2.GetOperationRequest, _context: Any
    ) -> operation_pb2.Operation:
        return operation_pb2.Operation()


async def serve(address: str) -> None:
    """Serves until it is ended."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    customer_service_pb2_grpc.add_CustomerServiceServicer_to_server(Customers(), server)
    operation_service_pb2_grpc.add_OperationServiceServicer_to_server(Operations(), server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(None)
    uvloop.run(serve(sys.argv[1]))
