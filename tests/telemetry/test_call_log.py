"""Lines of calls: what they hold, and how many there are."""

import io
import json
import logging

import pytest

from server.telemetry.call_log import MOST_A_MINUTE, CallLog

METHOD = "billing.v1.CustomerService.InviteCustomer"
IDS = {"request": "r-1", "customer": "bcu00000000000000001"}


class Clock:
    now_s = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now_s


def configured(
    level: int = logging.INFO, *, as_json: bool = True
) -> tuple[CallLog, io.StringIO, Clock]:
    clock, out = Clock(), io.StringIO()
    log = CallLog(clock)
    log.configure(out, as_json=as_json, level=level)
    return log, out, clock


async def test_a_line_of_json_holds_all_ids() -> None:
    log, out, _ = configured()
    log.succeeded(METHOD, 0.0123, {**IDS, "request": 'a"b\\c'})
    log.failed(METHOD, "NOT_FOUND", "NOT_FOUND", 0.001, IDS)
    log.write()
    went_well, failed = map(json.loads, out.getvalue().splitlines())
    assert went_well == {
        "at": "2027-01-15T08:00:00.250Z",
        "level": "INFO",
        "logger": "billing.calls",
        "message": f"{METHOD} OK",
        "method": METHOD,
        "code": "OK",
        "ms": 12.3,
        "request": 'a"b\\c',
        "customer": IDS["customer"],
    }
    assert (failed["level"], failed["code"], failed["reason"]) == ("WARNING", *["NOT_FOUND"] * 2)


async def test_a_line_of_text_is_one_line_too() -> None:
    log, out, _ = configured(as_json=False)
    log.succeeded(METHOD, 0.0123, IDS)
    log.write()
    assert out.getvalue().endswith(
        f",250 INFO billing.calls: {METHOD} OK 12.3 ms request=r-1 customer={IDS['customer']}\n"
    )


async def test_very_many_failures_of_one_reason_are_counted() -> None:
    log, out, clock = configured()
    for _ in range(MOST_A_MINUTE + 2_704):
        log.failed(METHOD, "UNAVAILABLE", "STORAGE_UNAVAILABLE", 0.001, IDS)
    log.failed(METHOD, "NOT_FOUND", "NOT_FOUND", 0.001, IDS)
    clock.now_s += 61
    log.failed(METHOD, "NOT_FOUND", "NOT_FOUND", 0.001, IDS)
    log.write()
    lines = [json.loads(line)["message"] for line in out.getvalue().splitlines()]
    assert len(lines) == MOST_A_MINUTE + 3
    assert lines[-2] == "calls failed with STORAGE_UNAVAILABLE: 2704 more in 61 s"


async def test_failures_that_have_ended_are_counted_too() -> None:
    log, out, clock = configured()
    for _ in range(MOST_A_MINUTE + 5):
        log.failed(METHOD, "UNAVAILABLE", "STORAGE_UNAVAILABLE", 0.001, IDS)
    log.sum_up()
    log.write()
    assert len(out.getvalue().splitlines()) == MOST_A_MINUTE
    clock.now_s += 61
    log.sum_up()
    log.sum_up(at_once=True)
    log.write()
    (line,) = out.getvalue().splitlines()[MOST_A_MINUTE:]
    assert json.loads(line)["message"] == "calls failed with STORAGE_UNAVAILABLE: 5 more in 61 s"


@pytest.mark.parametrize(
    ("level", "success", "failure"),
    [(logging.DEBUG, True, True), (logging.WARNING, False, True), (logging.ERROR, False, True)],
)
def test_the_level_says_what_is_told(level: int, success: bool, failure: bool) -> None:
    log, *_ = configured(level)
    assert (log.tells_success, log.tells_failure) == (success, failure)


async def test_an_output_that_is_gone_stops_no_call() -> None:
    log, out, _ = configured()
    out.close()
    log.succeeded(METHOD, 0.1, IDS)
    log.write()
