"""A database that fails: callers are told to come back, in time, and service comes back by itself."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from yandex.cloud.billing.v1 import customer_service_pb2_grpc
from yandex.cloud.billing.v1.customer_service_pb2 import InviteCustomerRequest

from tests.chaos import faults
from tests.chaos.audit import audit
from tests.chaos.load import DEADLINE_S, Answer, Callers, callers, refused
from tests.chaos.postgres import Postgres, postgres
from tests.chaos.stack import Stack, stack

_TOLD = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "503", "429"}
# Until service is back: processes that pause before they try again, and Envoy's look at their health.
_BACK_S = 20.0
# Less than a database is given.
_IN_A_HURRY_S = 2.0


async def _until_acknowledged(at_work: Callers, more: int) -> None:
    wanted = len(at_work.calls.acknowledged) + more
    async with asyncio.timeout(_BACK_S):
        while len(at_work.calls.acknowledged) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _until_refused(at_work: Callers, kinds: int, since: float) -> None:
    """Returns once callers of so many kinds were refused."""
    async with asyncio.timeout(2 * DEADLINE_S):
        while len({kind for at, kind, _ in at_work.calls.refusals if at > since}) < kinds:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def survive(
    running: Stack, fault: Callable[[], AbstractContextManager[Any]], kinds: int = 3
) -> None:
    """Has a fault come and go under load, and checks what callers were told, and what was lost.

    It lasts until callers of so many kinds were refused. Those with keys, half of the six, are the
    last: the gateway tries for them again.
    """
    async with callers(running.service) as at_work:
        await _until_acknowledged(at_work, 5)
        with fault():
            await _until_refused(at_work, kinds, time.monotonic())
        await _until_acknowledged(at_work, 50)
    calls = at_work.calls
    told = {answer.refusal for _, _, answer in calls.refusals}
    assert told <= _TOLD, calls.answers
    silent = [kind for _, kind, answer in calls.refusals if not answer.retry_info]
    assert not silent
    assert calls.slowest_s < DEADLINE_S
    found = await asyncio.to_thread(audit, running, calls)
    assert not found.wrong


@pytest.mark.parametrize("exposed_service", ["sqlite"], indirect=True)
@pytest.mark.parametrize("fault", [faults.locked_file, faults.no_room_for_files])
async def test_faults_of_sqlite_are_survived(running: Stack, fault: Callable[[Stack], Any]) -> None:
    await survive(running, lambda: fault(running))


@pytest.mark.parametrize("exposed_service", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "fault",
    [
        faults.restarted,
        faults.connections_taken,
        faults.read_only,
        faults.locked_table,
        faults.frozen,
    ],
)
async def test_faults_of_postgresql_are_survived(
    running: Stack, database: Postgres | None, fault: Callable[[Postgres], Any]
) -> None:
    assert database
    await survive(running, lambda: fault(database), 6 if fault is faults.frozen else 3)


@pytest.mark.parametrize("exposed_service", ["sqlite"], indirect=True)
async def test_callers_in_a_hurry_are_told_before_they_give_up(running: Stack) -> None:
    """With a key, too: the gateway has no time to try again."""
    service, stub = running.service, customer_service_pb2_grpc.CustomerServiceStub
    async with grpc.aio.insecure_channel(service.rest.removeprefix("http://")) as channel:
        invite: Any = stub(channel).Invite  # type: ignore[no-untyped-call,unused-ignore]

        async def told() -> Answer:
            request = InviteCustomerRequest()
            json_format.ParseDict(service.invitation(), request)
            metadata = (*service.metadata, ("idempotency-key", str(uuid.uuid4())))
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await invite(request, metadata=metadata, timeout=_IN_A_HURRY_S)
            return refused(refusal.value)

        with faults.locked_file(running):
            found = await asyncio.gather(*(told() for _ in range(5)))
    # A machine that is busy may be late for some.
    assert ("UNAVAILABLE", True, "STORAGE_UNAVAILABLE") in {
        (each.refusal, each.retry_info, each.reason) for each in found
    }


async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    with (
        faults.small_disk("160M") as folder,
        postgres(folder / "pg", min_wal_size="32MB", max_wal_size="64MB") as database,
        stack(tmp_path / "var", database.url) as running,
    ):
        await survive(running, lambda: faults.full_disk(database))


@pytest.mark.parametrize("exposed_service", ["postgresql"], indirect=True)
async def test_cut_connections_are_survived(running: Stack, database: Postgres | None) -> None:
    """What is under way when a connection is cut may have taken place: only that may be refused."""
    assert database
    async with callers(running.service) as at_work:
        for _ in range(5):
            await _until_acknowledged(at_work, 10)
            assert await asyncio.to_thread(database.cut_connections)
        await _until_acknowledged(at_work, 10)
    assert {answer.refusal for _, _, answer in at_work.calls.refusals} <= _TOLD
    assert all(answer.retry_info for _, _, answer in at_work.calls.refusals)
    assert not (await asyncio.to_thread(audit, running, at_work.calls)).wrong
