"""One viewer waits for operations that don't end, in all places that there are."""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import grpc
import httpx
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2

from tests.strangers.attack import Attack, Progress, Target
from tests.strangers.calling import hold_calls


@contextmanager
def _silent_mail_server() -> Iterator[Mapping[str, object]]:
    """Connections to it are taken and never answered, so no invitation is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield {"smtp_url": f"smtp://127.0.0.1:{listening.getsockname()[1]}"}


@asynccontextmanager
async def _hold(target: Target, count: int, progress: Progress) -> AsyncIterator[None]:
    metadata = (("authorization", f"Bearer {target.token}"),)
    async with httpx.AsyncClient(base_url=target.rest, headers=dict(metadata)) as client:
        listed = (await client.get("/v1/operations?filter=done=false")).json()
    asked = operations_pb2.WaitOperationRequest(
        name=listed["operations"][0]["name"], timeout=duration_pb2.Duration(seconds=60)
    )

    async def wait(channel: grpc.aio.Channel) -> None:
        stub = operations_pb2_grpc.OperationsStub(channel)
        await stub.WaitOperation(asked, metadata=metadata)

    async with hold_calls(target, count, progress, wait, connections=16):
        yield


ATTACK = Attack("one viewer's waits", "waits", 1_010, 1_010, _hold, _silent_mail_server)
