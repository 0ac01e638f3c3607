import asyncio

import pytest

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.limits import Places, RateLimit, Turns


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def test_a_caller_has_its_own_bucket_that_fills_again() -> None:
    clock = Clock()
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
    clock = Clock()
    limit = RateLimit(2, clock)
    limit.admit("a")
    clock.at = 100
    limit.admit("a")
    limit.admit("a")
    with pytest.raises(BillingError):
        limit.admit("a")


def test_zero_sets_no_limit() -> None:
    limit = RateLimit(0, Clock())
    for _ in range(10_000):
        limit.admit("a")


def test_a_bucket_can_hold_more() -> None:
    clock = Clock()
    limit = RateLimit(0.5, clock, within_s=8)
    for _ in range(4):
        limit.admit("a")
    with pytest.raises(BillingError) as refused:
        limit.admit("a")
    assert refused.value.retry_after_s == pytest.approx(2)


def test_memory_is_bounded() -> None:
    limit = RateLimit(1, Clock())
    for caller in range(20_000):
        limit.admit(str(caller))
    assert len(limit._buckets) <= 10_000


def test_a_caller_has_no_more_places_than_are_left_for_the_others() -> None:
    places = Places(8)
    for _ in range(4):
        places.take("greedy")
    with pytest.raises(BillingError) as refused:
        places.take("greedy")
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_s
    for _ in range(2):
        places.take("second")
    with pytest.raises(BillingError):
        places.take("second")
    places.take("third")
    for caller, count in (("greedy", 4), ("second", 2), ("third", 1)):
        for _ in range(count):
            places.give_back(caller)
    for _ in range(4):
        places.take("second")


def test_the_only_place_can_be_taken() -> None:
    places = Places(1)
    places.take("a")
    with pytest.raises(BillingError):
        places.take("b")
    places.give_back("a")
    places.take("b")


async def test_turns_come_round_robin() -> None:
    turns = Turns(1)
    await turns.take("greedy")
    order: list[str] = []

    async def work(caller: str) -> None:
        await turns.take(caller)
        order.append(caller)
        turns.give_back()

    tasks = [asyncio.create_task(work(caller)) for caller in ("greedy",) * 3 + ("a", "b")]
    await asyncio.sleep(0)
    turns.give_back()
    await asyncio.gather(*tasks)
    assert order == ["greedy", "a", "b", "greedy", "greedy"]


async def test_who_goes_before_the_turn_takes_none() -> None:
    turns = Turns(1)
    await turns.take("a")
    gone = asyncio.create_task(turns.take("b"))
    late = asyncio.create_task(turns.take("c"))
    await asyncio.sleep(0)
    gone.cancel()
    turns.give_back()
    # Handed over, and cancelled before it could run.
    late.cancel()
    await asyncio.gather(gone, late, return_exceptions=True)
    async with asyncio.timeout(5):
        await turns.take("d")
