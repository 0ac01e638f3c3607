import pytest

from server.api.limits import Concurrency, RateLimit
from server.domain.errors import BillingError, Reason


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
    clock.at = 100
    limit.admit("a")
    limit.admit("a")
    with pytest.raises(BillingError):
        limit.admit("a")


def test_zero_sets_no_limit() -> None:
    limit = RateLimit(0, Clock())
    for _ in range(10_000):
        limit.admit("a")


def test_a_bucket_can_hold_more_and_take_back() -> None:
    clock = Clock()
    limit = RateLimit(0.5, clock, within_s=8)
    for _ in range(4):
        limit.admit("a")
    with pytest.raises(BillingError) as refused:
        limit.admit("a")
    assert refused.value.retry_after_s == pytest.approx(2)
    limit.give_back("a")
    limit.admit("a")
    for _ in range(100):
        limit.give_back("a")
        limit.give_back("stranger")
    for caller in ("a", "stranger"):  # no more than the bucket holds
        for _ in range(4):
            limit.admit(caller)
        with pytest.raises(BillingError):
            limit.admit(caller)


def test_memory_is_bounded() -> None:
    limit = RateLimit(1, Clock())
    for caller in range(20_000):
        limit.admit(str(caller))
    assert len(limit._buckets) <= 10_000


def test_places_are_given_back() -> None:
    places = Concurrency(1)
    with places, pytest.raises(BillingError) as refused, places:
        pass
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_s
    with pytest.raises(ZeroDivisionError), places:
        raise ZeroDivisionError
    with places:
        pass
