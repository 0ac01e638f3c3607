"""Calls by the thousand: stopped, and with tokens that are refused, at every instant."""

import queue
import signal
import threading
from collections.abc import Iterator

import grpc
import pytest

from client.connection import Connection
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
