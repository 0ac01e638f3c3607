"""Several processes on one database: nobody waits, and nothing happens twice."""

import asyncio
import os
import signal
import time
import uuid
from typing import Any

import grpc
import httpx
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from tests.chaos.audit import audit
from tests.chaos.load import AcknowledgedCalls, by_grpc
from tests.chaos.stack import Stack

_REPEATS = 1000
# Below the second after which those who wait look for themselves.
_AT_ONCE_S = 0.9


def _replicas(running: Stack) -> list[grpc.aio.Channel]:
    """Returns a channel to each server process, past Envoy."""
    sockets = [running.service.grpc, f"unix:{running.service.var}/run/server-1.sock"]
    return [grpc.aio.insecure_channel(address) for address in sockets]


async def test_a_thousand_repeats_of_a_key_are_one_invitation(running: Stack) -> None:
    service, key = running.service, str(uuid.uuid4())
    body = service.invitation()
    channels = _replicas(running)
    sends = [by_grpc(channel, service) for channel in channels]
    answers = await asyncio.gather(*(sends[n % 2](body, key) for n in range(_REPEATS)))
    calls = AcknowledgedCalls()
    shed = 0
    for answer in answers:
        if answer.operation:
            calls.acknowledge(body["invitationEmail"], answer)
        else:
            assert (answer.refusal, answer.retry_info) == ("RESOURCE_EXHAUSTED", True)
            shed += 1
    assert shed < _REPEATS / 2
    assert len(calls.acknowledged) == 1
    found = await asyncio.to_thread(audit, running, calls)
    assert not found.wrong
    assert (found.done, found.emails) == (1, 1)
    for channel in channels:
        await channel.close()


async def test_waits_and_work_cross_processes_without_delay(running: Stack) -> None:
    """Whichever process sends the e-mail, those who wait at another hear of it as it is done."""
    service = running.service
    channels = _replicas(running)
    took = []
    for number in range(20):
        invite = by_grpc(channels[number % 2], service)
        stub: Any = operations_pb2_grpc.OperationsStub(channels[1 - number % 2])
        began = time.monotonic()
        answer = await invite(service.invitation(), None)
        assert answer.operation
        request = operations_pb2.WaitOperationRequest(name=f"operations/{answer.operation['id']}")
        request.timeout.FromSeconds(60)
        ended = await stub.WaitOperation(request, metadata=service.metadata)
        assert ended.done
        took.append(time.monotonic() - began)
    assert sorted(took)[len(took) // 2] < _AT_ONCE_S
    for channel in channels:
        await channel.close()


async def test_a_token_revoked_at_one_is_refused_by_all(running: Stack) -> None:
    service = running.service
    async with httpx.AsyncClient(base_url=service.rest) as client:
        made = await client.post("/iam/v1/tokens", json={"jwt": service.assertion()})
        token = made.json()["iamToken"]

        async def statuses() -> set[int]:
            path = f"/billing/v1/customers?resellerId={service.resellerId}"
            headers = {"authorization": f"Bearer {token}"}
            asked = [client.get(path, headers=headers) for _ in range(20)]
            return {answer.status_code for answer in await asyncio.gather(*asked)}

        assert await statuses() == {200}
        gone = await client.post(
            "/iam/v1/tokens:revoke", json={"iamToken": token}, headers=service.headers
        )
        assert gone.status_code == 200, gone.text
        began = time.monotonic()
        while await statuses() != {401}:
            assert time.monotonic() - began < _AT_ONCE_S


@pytest.mark.parametrize("exposed_service", ["sqlite"], indirect=True)
async def test_what_a_frozen_server_holds_is_answered_by_another(running: Stack) -> None:
    """Its connections stay, as those of a machine that is gone; half of the calls go there."""
    service = running.service
    path = f"/billing/v1/customers?resellerId={service.resellerId}"
    async with httpx.AsyncClient(
        base_url=service.rest, headers=service.headers, timeout=60
    ) as client:
        (frozen, *_) = running.servers()
        os.kill(frozen, signal.SIGSTOP)
        try:
            reads = [client.get(path) for _ in range(8)]
            keyed = [
                client.post(
                    "/billing/v1/customers:invite",
                    json=service.invitation(),
                    headers={"idempotency-key": str(uuid.uuid4())},
                )
                for _ in range(8)
            ]
            answers = await asyncio.gather(*reads, *keyed)
        finally:
            os.kill(frozen, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {200}
