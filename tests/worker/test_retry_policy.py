"""When e-mails are tried again: the delays as the policy's docstring has them."""

import re
from datetime import timedelta
from itertools import pairwise

import pytest

from server.worker.retry_policy import RetryPolicy, RetrySchedule
from tests.worker.harness import START


def _tries(policy: RetryPolicy, jitter: float = 0.0) -> list[float]:
    """Returns the seconds from the request to each try of an e-mail that is never taken."""
    now, attempt, tries = START, 1, [0.0]
    while next_at := policy.next_try_at(attempt, now, START, jitter):
        now, attempt = next_at, attempt + 1
        tries.append((now - START).total_seconds())
    return tries


def test_the_default_delays_are_those_that_the_docstring_spells_out() -> None:
    tries = _tries(RetryPolicy())
    assert tries[1:11] == [2, 6, 14, 30, 62, 126, 254, 510, 1022, 2046]
    text = re.sub(r"\s+", " ", RetryPolicy.__doc__ or "")
    assert ", ".join(f"{try_:,.0f}" for try_ in tries[1:10]) in text
    assert f"{tries[10]:,.0f} s (34 min)" in text
    later = [after - before for before, after in pairwise(tries[10:])]
    assert set(later[:-1]) == {1800.0}
    assert tries[-1] == timedelta(days=5).total_seconds()
    assert 240 <= len(tries) <= 260


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_shortens_each_delay_by_up_to_a_quarter(jitter: float) -> None:
    tries = _tries(RetryPolicy(), jitter)
    assert tries[1:4] == [delay * (1 - jitter / 4) for delay in (2, 6, 14)]
    assert tries[-1] == timedelta(days=5).total_seconds()


@pytest.mark.parametrize("attempt", [1, 1000, 2**31])
def test_no_number_of_attempts_is_too_much(attempt: int) -> None:
    next_at = RetryPolicy().next_try_at(attempt, START, START, 0.0)
    assert next_at
    assert next_at - START <= RetryPolicy().longest


def test_webhooks_are_tried_by_the_schedule_that_is_published() -> None:
    now, tries = START, [0.0]
    while next_at := RetrySchedule().next_try_at(len(tries), now, START, 0.5):
        tries.append((next_at - now).total_seconds())
        now = next_at
    hours = [each * 3600 for each in (2, 5, 10, 14, 20, 24)]
    assert tries == pytest.approx([0, 0, 5, 300, 1800, *hours])
    assert timedelta(days=3) < now - START < timedelta(days=3.5)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_jitter_spreads_the_tries_of_webhooks(jitter: float, share: float) -> None:
    next_at = RetrySchedule().next_try_at(3, START, START, jitter)
    assert next_at == START + timedelta(minutes=5) * share
