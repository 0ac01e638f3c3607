"""SIGTERM to each server process in turn, under load behind Envoy: no call fails."""

import asyncio
import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.domain.operations import Operation
from tests.chaos.audit import audit
from tests.chaos.load import callers
from tests.chaos.stack import Stack, kill
from tests.storage.records import ACTOR, new, opened

# The pause for the gateway, the end of calls and the start of a process, on a busy machine too; below
# BILLING_SHUTDOWN_S, which a restart would take if calls that wait held it up.
_RESTART_S = 40.0


async def _serves(address: str) -> bool:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _restarted(running: Stack, pid: int) -> float:
    """Restarts a process; returns the seconds until it and its successor are gone and there."""
    began = time.monotonic()
    assert kill(pid, signal.SIGTERM)
    addresses = [running.service.grpc, f"unix:{running.service.var}/run/server-1.sock"]
    async with asyncio.timeout(60):
        while pid in running.servers() or len(running.servers()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        while not all([await _serves(address) for address in addresses]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def test_no_call_fails_while_servers_and_gateways_restart(running: Stack) -> None:
    gateways = running.gateways()
    async with (
        opened(running.database_url) as storage,
        callers(running.service, each=2, waits=1) as at_work,
        grpc.aio.insecure_channel(running.service.rest.removeprefix("http://")) as channel,
    ):
        # Its e-mail is due in minutes: who waits for it waits for longer than a restart takes.
        due_at = datetime.now(UTC) + timedelta(minutes=10)
        begun = await storage.invitations.create_invitation(
            new(reseller_id=running.service.resellerId, now=due_at), None
        )
        waits = [asyncio.create_task(_waited(running, channel, begun)) for _ in range(5)]
        for pid in running.servers():
            assert await _restarted(running, pid) < _RESTART_S
        assert not any(wait.done() for wait in waits)
        await storage.operations.cancel_operation(begun.id, due_at, ACTOR, None)
        await asyncio.gather(*waits)
    assert at_work.calls.failures() == {}
    assert running.gateways() == gateways
    found = await asyncio.to_thread(audit, running, at_work.calls)
    assert not found.wrong
    assert found.acknowledged > 0


async def test_streams_hear_that_their_server_stops_and_go_on(running: Stack) -> None:
    service = running.service
    url = f"{service.rest}/v1/resellers/{service.resellerId}/events:watch"
    async with httpx.AsyncClient(headers=service.headers, timeout=60) as client:
        async with client.stream("GET", url, params={"after": "latest"}) as answer:
            lines = answer.aiter_lines()
            assert set(json.loads(await anext(lines))) == {"position"}
            await asyncio.to_thread(service.invite)
            for pid in running.servers():
                await _restarted(running, pid)
            said = [json.loads(line) async for line in lines]
        *before, ended = said
        info = ended["error"]["details"][0]
        assert info["reason"] == "SERVER_STOPPING"
        assert before[-1]["position"] == info["metadata"]["position"]
        await asyncio.to_thread(service.invite)
        after = info["metadata"]["position"]
        async with client.stream("GET", url, params={"after": after}) as answer:
            lines = answer.aiter_lines()
            assert json.loads(await anext(lines)) == {"position": after}
            assert json.loads(await anext(lines))["position"] > after


async def _waited(running: Stack, channel: grpc.aio.Channel, operation: Operation) -> None:
    """Returns when the operation is done; a wait that ends before it is one to repeat."""
    stub: Any = operations_pb2_grpc.OperationsStub(channel)
    request = operations_pb2.WaitOperationRequest(name=f"operations/{operation.id}")
    request.timeout.FromTimedelta(timedelta(minutes=2))
    while not (await stub.WaitOperation(request, metadata=running.service.metadata)).done:
        pass
