"""Failures in the log: each kind once, then in summaries."""

import logging

import pytest

from server.domain.errors import BillingError, Reason
from server.telemetry.failure_log import SUMMARY_EVERY_S, FailureLog, sum_up
from tests.clock import Stopwatch

_log = logging.getLogger("tests.failures")


@pytest.fixture
def now_s() -> Stopwatch:
    return Stopwatch(1000.0)


@pytest.fixture
def failures(now_s: Stopwatch) -> FailureLog:
    return FailureLog(_log, now_s)


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_hour_of_failures_is_a_dozen_lines(
    failures: FailureLog, now_s: Stopwatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3600):
        for _ in range(10):
            failures.tell("no connection", "first bop1")
        now_s.at += 1
    lines = _lines(caplog)
    assert lines[:2] == ["no connection (first bop1)", "no connection: 3000 more in 300 s"]
    assert len(lines) == 3600 / SUMMARY_EVERY_S


def test_each_kind_is_told_at_once_with_its_level(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    failures.tell("one", level=logging.ERROR)
    failures.tell("one", level=logging.ERROR)
    failures.tell("two")
    failures.tell_error("three", BillingError(Reason.STORAGE_FULL, "secret"))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "one"),
        ("WARNING", "two"),
        ("WARNING", "three: STORAGE_FULL"),
    ]


def test_what_comes_back_after_long_is_told_anew_and_the_rest_of_before_too(
    failures: FailureLog, now_s: Stopwatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        failures.tell("one")
    now_s.at += 2 * SUMMARY_EVERY_S
    failures.tell("two")
    failures.tell("one", "again")
    assert _lines(caplog) == ["one", "one: 2 more before", "two", "one (again)"]


def test_a_server_that_makes_up_codes_fills_neither_memory_nor_log(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10_000):
        failures.tell(f"451 4.{number}")
    assert len(caplog.records) == 101
    assert _lines(caplog)[-1] == "other failures"
    assert len(failures._kinds) == 101


def test_an_outage_that_is_over_is_summed_up_too(
    failures: FailureLog, now_s: Stopwatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        failures.tell("one", level=logging.ERROR)
    failures.tell("two")
    failures.sum_up(at_once=False)
    now_s.at += SUMMARY_EVERY_S
    for _ in range(2):
        failures.sum_up(at_once=False)
    failures.tell("one", level=logging.ERROR)
    failures.sum_up(at_once=True)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "one"),
        ("WARNING", "two"),
        ("ERROR", "one: 2 more in 300 s"),
        ("ERROR", "one: 1 more in 0 s"),
    ]


def test_all_that_are_in_use_are_summed_up(
    failures: FailureLog, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        failures.tell("one")
    sum_up(at_once=True)
    assert "one: 1 more in 0 s" in _lines(caplog)
