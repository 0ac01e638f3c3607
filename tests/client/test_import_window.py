"""Calls by the thousand: stopped, and with tokens that are refused, at every instant."""

import queue
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from client.connection import Connection
from client.errors import ClientError
from client.importing import window as module
from client.importing.window import Window
from client.profiles import Profile


class _InterruptedBefore(queue.SimpleQueue["int | None"]):
    """Has Ctrl-C come when a call is counted already, and not handed out yet."""

    def __init__(self, job: int) -> None:
        self._job = job

    def put(self, item: int | None, block: bool = True, timeout: float | None = None) -> None:
        if item == self._job:
            signal.raise_signal(signal.SIGINT)
        super().put(item, block, timeout)


class _TakenOnce(queue.SimpleQueue["int | None"]):
    """Has a job begin when something has happened."""

    def __init__(self, job: int, happened: threading.Event) -> None:
        self._job = job
        self._happened = happened

    def get(self, block: bool = True, timeout: float | None = None) -> int | None:
        item = super().get(block, timeout)
        if item == self._job:
            self._happened.wait(10)
        return item


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection that nothing is sent by."""
    made = Connection(Profile(endpoint="localhost:1", reseller="r"))
    yield made
    made.channel.close()


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Ctrl-C is obeyed, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def window(connection: Connection, answered: list[int]) -> Window[int, int]:
    return Window(
        connection,
        lambda job: job,
        lambda job, _: answered.append(job),
        lambda _: None,
        changes=True,
    )


@pytest.mark.timeout(30)
@pytest.mark.parametrize("job", [1, 3, 20])
def test_ctrl_c_between_counting_a_call_and_making_it_waits_for_no_more(
    connection: Connection, job: int
) -> None:
    answered: list[int] = []
    made = window(connection, answered)
    made._jobs = _InterruptedBefore(job)
    with pytest.raises(KeyboardInterrupt):
        made.run(iter(range(1, 100)))
    # What was under way is taken, and no more is begun.
    assert set(range(1, job + 1)) <= set(answered)
    assert len(answered) < job + 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.timeout(30)
def test_ctrl_c_at_the_last_answer_stops_what_comes_next(connection: Connection) -> None:
    made: Window[int, int] = Window(
        connection,
        lambda job: job,
        lambda _, __: signal.raise_signal(signal.SIGINT),
        lambda _: None,
        changes=True,
    )
    with pytest.raises(KeyboardInterrupt):
        made.run(iter([1]))


class _Refused(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAUTHENTICATED

    def details(self) -> str:
        return "refused"

    def trailing_metadata(self) -> tuple[()]:
        return ()


@pytest.mark.timeout(30)
def test_calls_that_begin_while_the_token_is_given_up_are_made_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have the old one still."""
    token, renewing, began = ["old"], threading.Event(), threading.Event()
    refused: list[int] = []

    def call(job: int) -> int:
        mine = token[0]
        if job == 2:
            began.set()
        if mine == "old":
            refused.append(job)
            raise _Refused
        return job

    def renew() -> bool:
        renewing.set()
        began.wait(10)
        token[0] = "new"
        return True

    monkeypatch.setattr(connection, "renew", renew)
    answered: list[int] = []
    made: Window[int, int] = Window(
        connection, call, lambda job, _: answered.append(job), lambda _: None, changes=True
    )
    made._jobs = _TakenOnce(2, renewing)
    made.run(iter([1, 2, 3]))
    assert sorted(answered) == [1, 2, 3]
    assert 2 in refused


class _Failed(grpc.RpcError):
    """A failure with a reason, and how many seconds to wait before the call is repeated."""

    def __init__(
        self, code: grpc.StatusCode, retry_s: int | None = None, reason: str = "", limit: str = ""
    ) -> None:
        self._code = code
        status = status_pb2.Status(code=code.value[0], message="no")
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(reason=reason, metadata={"limit": limit})
        )
        if retry_s is not None:
            status.details.add().Pack(
                error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_s))
            )
        self._metadata = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "no"

    def trailing_metadata(self) -> Any:
        return self._metadata


EXHAUSTED, AWAY = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    at = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: at[0]))
    return at


def test_refusals_of_one_time_halve_the_window_once(
    connection: Connection, now: list[float]
) -> None:
    made = window(connection, [])
    for job in range(3):
        assert not made._settle_failure(job, now[0], _Failed(EXHAUSTED, 2))
    assert made._size == 4
    assert made._next_s() == now[0] + 2
    now[0] += 2
    assert not made._settle_failure(3, now[0], _Failed(EXHAUSTED, 1))
    assert (made._size, made._next_s()) == (2, now[0] + 1)
    # Those that came first are repeated first.
    assert [job for _, _, job in sorted(made._later)] == [0, 1, 2, 3]


def test_answers_let_the_window_grow_by_one_for_its_size_up_to_the_most(
    connection: Connection,
) -> None:
    made = window(connection, [])
    for _ in range(8):
        made._answered()
    assert 8.5 < made._size < 9
    for _ in range(5000):
        made._answered()
    assert made._size == 48


def test_a_limit_of_one_address_stops_no_other_call(
    connection: Connection, now: list[float]
) -> None:
    made = window(connection, [])
    full = _Failed(EXHAUSTED, 600, "MAIL_LIMIT_REACHED", "MAIL_PER_ADDRESS_H")
    made._in_flight = 1
    assert not made._settle_failure(0, now[0], full)
    assert (made._size, made._not_before_s) == (8, 0)
    made._in_flight = 0
    assert not made._settle_failure(0, now[0], full)
    assert made._not_before_s == now[0] + 600


def test_a_service_that_is_away_is_asked_ever_less_often_and_given_up(
    connection: Connection, now: list[float]
) -> None:
    made = window(connection, [])
    pauses = []
    for _ in range(8):
        assert not made._settle_failure(0, now[0], _Failed(AWAY))
        pauses.append(round(made._not_before_s - now[0], 1))
        now[0] = made._not_before_s
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    made._answered()  # it is back: the time is counted anew
    now[0] += 30
    assert not made._settle_failure(0, now[0], _Failed(AWAY))
    now[0] += 30
    assert not made._settle_failure(0, now[0], _Failed(AWAY))
    now[0] += 0.1
    with pytest.raises(ClientError, match="no"):
        made._settle_failure(0, now[0], _Failed(AWAY, reason="STORAGE_UNAVAILABLE"))


@pytest.mark.parametrize(
    "error",
    [
        _Failed(grpc.StatusCode.PERMISSION_DENIED, reason="PERMISSION_MISSING"),
        _Failed(grpc.StatusCode.UNIMPLEMENTED, reason="METHOD_UNKNOWN"),
        _Failed(EXHAUSTED, reason="CUSTOMER_LIMIT_REACHED"),
    ],
)
def test_what_every_call_would_be_refused_for_stops_all(
    connection: Connection, error: _Failed
) -> None:
    with pytest.raises(ClientError):
        window(connection, [])._settle_failure(0, 0.0, error)


def test_a_failure_of_one_call_is_its_own(connection: Connection) -> None:
    made = window(connection, [])
    assert made._settle_failure(0, 0.0, _Failed(grpc.StatusCode.INVALID_ARGUMENT))
    assert (made._later, made._size) == ([], 8)
