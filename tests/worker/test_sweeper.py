"""What has expired is recorded and what is old is cleared, a little at a time."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from server.domain.access import VerifiedToken
from server.domain.invitations import InvitationList, InvitationState
from server.domain.operations import Operation
from server.storage import open_storage
from server.storage.check import check
from server.storage.interface import IdempotencyKey, RetentionStorage, Storage
from server.worker.handlers.sweeps import Sweeper, SweeperSettings
from tests.clock import Clock
from tests.service import eventually
from tests.storage.databases import query
from tests.storage.records import ACTOR
from tests.worker.harness import (
    MINUTE,
    RESELLER_ID,
    RESELLER_NAME,
    START,
    RecordingStorage,
    invited,
)

DAY = timedelta(days=1)
LATER = START + 100 * DAY
SETTINGS = SweeperSettings(every=timedelta(milliseconds=1), retention=30 * DAY, rest=0.01)


def sweeper(
    storage: Storage | RecordingStorage,
    now: datetime = LATER,
    settings: SweeperSettings = SETTINGS,
    **given: Any,
) -> Sweeper:
    parts = storage if isinstance(storage, RecordingStorage) else storage.retention
    return Sweeper(cast("RetentionStorage", parts), lambda: now, settings, **given)


@asynccontextmanager
async def at_work(working: Sweeper) -> AsyncIterator[None]:
    running = asyncio.create_task(working.run())
    try:
        yield
    finally:
        working.stop()
        await running


async def sent(storage: Storage) -> Operation:
    """Records an invitation, and that its e-mail has gone out."""
    operation = await invited(storage)
    (delivery,) = await storage.mail.claim_deliveries(10, START, MINUTE)
    assert await storage.mail.finish_delivery(delivery, START)
    return operation


async def many(storage: Storage, number: int, database: str) -> None:
    """Records operations that ended; as many at once as a slow machine answers in time."""
    for start in range(0, number, 200):
        await asyncio.gather(*(invited(storage) for _ in range(start, min(start + 200, number))))
    query(database, "UPDATE operations SET done = TRUE, due_at = NULL, attempts = 1")


def rows(database: str, table: str) -> int:
    ((number,),) = query(database, f"SELECT count(*) FROM {table}")
    return int(number)


async def test_a_sweep_does_all_that_there_is_to_do(storage: Storage, database: str) -> None:
    operation = await sent(storage)
    made = IdempotencyKey(b"key", b"fingerprint")
    await storage.operations.cancel_operation(operation.id, START, ACTOR, made)
    await storage.access.revoke_token(VerifiedToken(b"revoked", "subject", None, START))
    await sweeper(storage, START + 31 * DAY).sweep()
    (invitation,) = (
        await storage.invitations.list_invitations(InvitationList(RESELLER_ID), START, 10, None)
    ).rows
    assert invitation.record.state is InvitationState.EXPIRED
    for table in ("operations", "idempotency_keys", "revoked_tokens"):
        assert rows(database, table) == 0
    assert rows(database, "link_tokens") == 1
    await sweeper(storage, START + 61 * DAY).sweep()
    assert rows(database, "link_tokens") == 0
    assert await storage.customers.get_customer(operation.customer_id)
    assert [found for found in check(database) if found.count] == []


async def test_it_rests_after_each_batch_by_how_long_that_took(
    storage: Storage, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(storage, 25, database)
    seconds = count()
    working = sweeper(
        storage, settings=SweeperSettings(rest=4.0), timer=lambda: float(next(seconds))
    )
    rests = []

    async def note(longest_s: float) -> None:
        rests.append(longest_s)

    monkeypatch.setattr(working, "_pause", note)
    await working.sweep()
    assert rows(database, "operations") == 0
    # Each batch took a second; the last ones of a kind, which are not full, need no rest.
    assert rests
    assert set(rests) == {4.0}


async def test_nothing_is_swept_too_early(storage: Storage, database: str) -> None:
    await sent(storage)
    await sweeper(storage, START + 30 * DAY - MINUTE).sweep()
    assert rows(database, "operations") == rows(database, "link_tokens") == 1
    (invitation,) = (
        await storage.invitations.list_invitations(InvitationList(RESELLER_ID), START, 10, None)
    ).rows
    assert invitation.record.state is InvitationState.PENDING


async def test_operations_and_links_can_be_kept_for_ever(storage: Storage, database: str) -> None:
    await sent(storage)
    for_ever = SweeperSettings(retention=None)
    await sweeper(storage, START + 10_000 * DAY, for_ever).sweep()
    assert rows(database, "operations") == rows(database, "link_tokens") == 1
    (invitation,) = (
        await storage.invitations.list_invitations(InvitationList(RESELLER_ID), START, 10, None)
    ).rows
    assert invitation.record.state is InvitationState.EXPIRED


@pytest.mark.parametrize(("row_s", "most"), [(1e-6, 500), (1e-4, 110), (1e-2, 10)])
async def test_batches_take_about_the_time_that_they_should(
    storage: Storage, database: str, row_s: float, most: int
) -> None:
    """However long a row takes: at first a few rows, then as many as fit."""
    await many(storage, 2000, database)
    recording = RecordingStorage(storage)

    def elapsed_s() -> float:
        rows_done: int = sum(arguments[-1] for _, arguments in recording.calls)
        return row_s * rows_done

    await sweeper(recording, timer=elapsed_s).sweep()
    assert rows(database, "operations") == 0
    limits = [arguments[-1] for name, arguments in recording.calls if name == "clear_operations"]
    assert max(limits) <= most
    assert limits[-1] >= most * 0.9


async def test_calls_go_on_between_batches(storage: Storage, database: str) -> None:
    """Though they are as small as they get, and the rests short."""
    await many(storage, 500, database)
    slow = sweeper(storage, settings=SweeperSettings(rest=0.001), timer=count().__next__)
    sweeping = asyncio.create_task(slow.sweep())
    calls = 0
    while not sweeping.done():
        await invited(storage, at=LATER)
        calls += 1
    await sweeping
    assert calls > 5
    assert rows(database, "operations") == calls


async def test_sweepers_share_the_work(storage: Storage, database: str) -> None:
    await many(storage, 500, database)
    other = await open_storage(database, idempotency_lifetime=2 * DAY)
    await asyncio.gather(*(sweeper(each).sweep() for each in (storage, other, storage, other)))
    await other.close()
    assert rows(database, "operations") == 0
    assert [found for found in check(database) if found.count] == []


@pytest.mark.parametrize("error", [None, RuntimeError("canary")])
async def test_what_fails_is_swept_the_next_time(
    storage: Storage,
    database: str,
    error: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await sent(storage)
    recording = RecordingStorage(storage, {"expire_invitations": 1, "clear_operations": 1}, error)
    async with at_work(sweeper(recording)):
        await recording.until(3, "clear_links")
    assert rows(database, "operations") == rows(database, "link_tokens") == 0
    assert "the sweep is put off" in caplog.text
    assert "canary" not in caplog.text


async def test_stopping_waits_for_the_batch_and_not_for_the_sweep(
    storage: Storage, database: str
) -> None:
    await many(storage, 500, database)
    recording = RecordingStorage(storage)
    slow = sweeper(recording, settings=SweeperSettings(timedelta(milliseconds=1), rest=1e9))
    async with at_work(slow):
        await recording.until(1, "expire_invitations")
    assert rows(database, "operations") == 500


async def test_sweeps_are_spread_around_their_interval(
    storage: Storage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that processes that started together do not sweep together."""
    recording = RecordingStorage(storage)
    pauses: list[float] = []
    hour = SweeperSettings(every=timedelta(hours=1))

    async def run(jitter: float) -> None:
        spread = Sweeper(cast("RetentionStorage", recording), clock, hour, lambda: jitter)

        async def pause(longest_s: float) -> None:
            pauses.append(longest_s)
            spread.stop()

        monkeypatch.setattr(spread, "_pause", pause)
        await spread.run()

    for jitter in (0.0, 0.5, 1.0):
        await run(jitter)
    assert pauses == [1800, 3600, 5400]
    assert recording.calls == []


def test_a_worker_process_sweeps(database: str, tmp_path: Path) -> None:
    """As its settings say."""

    async def fill() -> None:
        storage = await open_storage(database, idempotency_lifetime=2 * DAY)
        await storage.administration.add_reseller(RESELLER_ID, RESELLER_NAME, START)
        for age in (3 * DAY, timedelta(hours=1)):
            at = datetime.now(UTC) - age
            await invited(storage, at=at)
            (delivery,) = await storage.mail.claim_deliveries(10, at, MINUTE)
            await storage.mail.finish_delivery(delivery, at)
        await storage.close()

    asyncio.run(fill())
    settings = {
        "BILLING_DATABASE_URL": database,
        "BILLING_VAR": str(tmp_path / "var"),
        "BILLING_OPERATION_RETENTION_D": "2",
        "BILLING_SWEEP_INTERVAL_S": "0.05",
    }
    command = [sys.executable, "-m", "server", "worker", "--dev"]
    with subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.PIPE) as process:
        try:
            eventually(lambda: rows(database, "operations") == 1 or None)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0
    assert rows(database, "customers") == 2
