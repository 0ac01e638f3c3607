import asyncio

import pytest

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.concurrency import ConcurrencyLimit, RoundRobin
from server.rpc.pipeline.rate_limit import RateLimit
from tests.clock import Stopwatch


def test_a_caller_has_its_own_bucket_that_fills_again() -> None:
    clock = Stopwatch()
    limit = RateLimit(5, clock)
    for _ in range(5):
        limit.admit("a")
    with pytest.raises(BillingError) as refused:
        limit.admit("a")
    assert refused.value.reason is Reason.RATE_EXCEEDED
    assert refused.value.retry_after_s == pytest.approx(0.2)
    limit.admit("b")
    clock.at = 0.21
    limit.admit("a")
    with pytest.raises(BillingError):
        limit.admit("a")


def test_a_bucket_holds_no_more_than_a_second() -> None:
    clock = Stopwatch()
    limit = RateLimit(2, clock)
    limit.admit("a")
    clock.at = 100
    limit.admit("a")
    limit.admit("a")
    with pytest.raises(BillingError):
        limit.admit("a")


def test_a_rate_of_zero_sets_no_limit() -> None:
    limit = RateLimit(0, Stopwatch())
    for _ in range(10_000):
        limit.admit("a")


def test_a_bucket_can_hold_more() -> None:
    clock = Stopwatch()
    limit = RateLimit(0.5, clock, within_s=8)
    for _ in range(4):
        limit.admit("a")
    with pytest.raises(BillingError) as refused:
        limit.admit("a")
    assert refused.value.retry_after_s == pytest.approx(2)


def test_the_buckets_of_many_callers_take_bounded_memory() -> None:
    limit = RateLimit(1, Stopwatch())
    for caller in range(20_000):
        limit.admit(str(caller))
    assert len(limit._buckets) <= 10_000


def test_a_caller_has_no_more_places_than_are_left_for_the_others() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(4):
        limit.acquire("greedy")
    with pytest.raises(BillingError) as refused:
        limit.acquire("greedy")
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_s
    for _ in range(2):
        limit.acquire("second")
    with pytest.raises(BillingError):
        limit.acquire("second")
    limit.acquire("third")
    for caller, count in (("greedy", 4), ("second", 2), ("third", 1)):
        for _ in range(count):
            limit.release(caller)
    for _ in range(4):
        limit.acquire("second")


def test_the_only_place_can_be_taken() -> None:
    limit = ConcurrencyLimit(1)
    limit.acquire("a")
    with pytest.raises(BillingError):
        limit.acquire("b")
    limit.release("a")
    limit.acquire("b")


async def test_waiting_callers_get_turns_in_rotation() -> None:
    turns = RoundRobin(1)
    await turns.acquire("greedy")
    order: list[str] = []

    async def work(caller: str) -> None:
        await turns.acquire(caller)
        order.append(caller)
        turns.release()

    tasks = [asyncio.create_task(work(caller)) for caller in ("greedy",) * 3 + ("a", "b")]
    await asyncio.sleep(0)
    turns.release()
    await asyncio.gather(*tasks)
    assert order == ["greedy", "a", "b", "greedy", "greedy"]


async def test_a_caller_that_leaves_before_its_turn_takes_none() -> None:
    turns = RoundRobin(1)
    await turns.acquire("a")
    gone = asyncio.create_task(turns.acquire("b"))
    late = asyncio.create_task(turns.acquire("c"))
    await asyncio.sleep(0)
    gone.cancel()
    turns.release()
    # Handed over, and cancelled before it could run.
    late.cancel()
    await asyncio.gather(gone, late, return_exceptions=True)
    async with asyncio.timeout(30):
        await turns.acquire("d")
