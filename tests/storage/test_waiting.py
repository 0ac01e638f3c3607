"""Waits end with what they wait for: without its word, those of these tests would last an hour."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from server.domain.errors import BillingError, Reason
from server.domain.operations import Operation
from server.storage.notify import notifier
from server.storage.operations import storage as operations
from server.storage.sql.transactions import Notice
from server.storage.storage import SqlStorage
from server.storage.work import waiting as work
from tests.storage.records import ACTOR, LEASE, RESELLER, START, claimed, invited, until
from tests.storage.stored_invitation import MINUTE, recorded

HOUR = timedelta(hours=1)
# Far above what word takes to arrive, far below the hour.
IN_TIME_S = 20.0


@pytest.fixture
def by_word_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait never look for themselves."""
    for module in (operations, work):
        monkeypatch.setattr(module, "LOOK_EVERY", HOUR)


@pytest.fixture
async def both_listening(storage: SqlStorage, other_process: SqlStorage) -> None:
    """Returns once signals between the two storages arrive: connections take a moment."""
    for sender, receiver in ((storage, other_process), (other_process, storage)):
        with receiver._notifier.work() as heard:
            while not heard.is_set():
                sender._notifier.publish(Notice(has_work=True))
                await asyncio.sleep(0.005)


@pytest.mark.usefixtures("both_listening", "by_word_alone")
@pytest.mark.parametrize("same_process", [True, False])
async def test_a_wait_ends_with_the_operation(
    storage: SqlStorage, other_process: SqlStorage, same_process: bool
) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    waiting = asyncio.create_task(storage.waits.wait_operation(given.id, HOUR))
    await until(lambda: given.id in storage._notifier._operations)
    await (storage if same_process else other_process).mail.finish_delivery(delivery, START)
    ended = await asyncio.wait_for(waiting, IN_TIME_S)
    assert ended
    assert ended.done


@pytest.mark.usefixtures("both_listening", "by_word_alone")
@pytest.mark.parametrize("same_process", [True, False])
async def test_workers_wake_up_for_new_work(
    storage: SqlStorage, other_process: SqlStorage, same_process: bool
) -> None:
    waiting = asyncio.create_task(storage.mail.wait_for_work(START, HOUR))
    await until(lambda: bool(storage._notifier._workers))
    await invited(storage if same_process else other_process)
    await asyncio.wait_for(waiting, IN_TIME_S)
    await claimed(storage)


@pytest.mark.usefixtures("both_listening", "by_word_alone")
@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("news", ["resend", "retry", "ended early", "resumed"])
async def test_workers_wake_up_for_whatever_becomes_due(
    storage: SqlStorage, other_process: SqlStorage, same_process: bool, news: str
) -> None:
    stored = await recorded(storage)
    teller = storage if same_process else other_process
    delivery = await stored.claim()
    if news == "resend":
        assert await storage.mail.finish_delivery(delivery, START)
    elif news == "ended early":
        # The next try would come in an hour.
        assert await storage.mail.retry_delivery(delivery, START + HOUR, START)
    elif news == "resumed":
        await storage.administration.suspend_reseller(RESELLER, START)
        assert await storage.mail.retry_delivery(delivery, START, START)
        assert await storage.mail.claim_deliveries(10, START, LEASE) == []
    waiting = asyncio.create_task(storage.mail.wait_for_work(START + MINUTE / 2, HOUR))
    await until(lambda: bool(storage._notifier._workers))
    match news:
        case "resend":
            await stored.seen_by(teller).resend(START)
        case "retry":
            assert await teller.mail.retry_delivery(delivery, START, START)
        case "ended early":
            await stored.seen_by(teller).revoke(START)
        case "resumed":
            assert await teller.administration.resume_reseller(RESELLER, START)
    await asyncio.wait_for(waiting, IN_TIME_S)


@pytest.mark.usefixtures("by_word_alone")
async def test_an_end_between_look_and_wait_is_not_missed(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await invited(storage)
    delivery = await claimed(storage)
    look = storage.operations.get_operation

    async def look_a_moment_too_early(operation_id: str) -> Operation | None:
        found = await look(operation_id)
        await storage.mail.finish_delivery(delivery, START)
        return found

    monkeypatch.setattr(storage.operations, "get_operation", look_a_moment_too_early)
    ended = await asyncio.wait_for(storage.waits.wait_operation(given.id, HOUR), IN_TIME_S)
    assert ended
    assert ended.done


@pytest.mark.usefixtures("by_word_alone")
async def test_work_between_look_and_wait_is_not_missed(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = storage._reads.submit
    given: list[Operation] = []

    async def look_a_moment_too_early(*arguments: Any) -> Any:
        found = await look(*arguments)
        if not given:
            given.append(await invited(storage))
        return found

    monkeypatch.setattr(storage._reads, "submit", look_a_moment_too_early)
    await asyncio.wait_for(storage.mail.wait_for_work(START, HOUR), IN_TIME_S)
    assert given


async def test_a_lost_signal_costs_a_second(storage: SqlStorage, other_process: SqlStorage) -> None:
    if other_process._notifier.transport:
        await other_process._notifier.transport.close()
        other_process._notifier.transport = None
    given = await invited(storage)
    waiting = asyncio.create_task(storage.waits.wait_operation(given.id, HOUR))
    await until(lambda: given.id in storage._notifier._operations)
    await other_process.operations.cancel_operation(given.id, START, ACTOR, None)
    ended = await asyncio.wait_for(waiting, 10)
    assert ended
    assert ended.done


async def test_waits_end_with_their_time(storage: SqlStorage) -> None:
    given = await invited(storage)
    assert await storage.waits.wait_operation(given.id, timedelta(0)) == given
    assert await storage.waits.wait_operation(given.id, timedelta(milliseconds=20)) == given
    await claimed(storage)
    await storage.mail.wait_for_work(START, timedelta(milliseconds=20))


async def test_a_wait_for_work_ends_at_once_where_some_is_due_already(storage: SqlStorage) -> None:
    await invited(storage)
    await storage.mail.wait_for_work(START, HOUR)
    delivery = await claimed(storage)
    await storage.mail.wait_for_work(delivery.lease_until - timedelta(milliseconds=20), HOUR)
    await storage.mail.retry_delivery(delivery, START + 2 * LEASE, START)
    await storage.mail.wait_for_work(START + 2 * LEASE - timedelta(milliseconds=20), HOUR)


async def test_a_cancelled_wait_makes_room_for_another(
    storage: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "MOST_WAITING", 3)
    given = await invited(storage)
    waiting = [asyncio.create_task(storage.waits.wait_operation(given.id, HOUR)) for _ in range(3)]
    await until(lambda: storage._notifier._waiting == 3)
    with pytest.raises(BillingError) as refused:
        await storage.waits.wait_operation(given.id, HOUR)
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_s
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert storage._notifier._waiting == 0
    assert not storage._notifier._operations


async def test_many_ended_operations_are_told_in_several_messages(
    storage: SqlStorage, other_process: SqlStorage
) -> None:
    told: set[str] = set()
    ended = [f"bop{number:017}" for number in range(1000)]
    other_process._notifier.receive = lambda message: told.update(message.split())  # type: ignore[method-assign]
    assert other_process._notifier.transport
    other_process._notifier.transport._receive = other_process._notifier.receive  # type: ignore[attr-defined]
    while told < set(ended):  # until the connections are there
        storage._notifier.publish(Notice(tuple(ended)))
        await asyncio.sleep(0.05)
