"""Calls by the thousand: as many at once as the service lets us, and none before it asks for."""

import contextlib
import heapq
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import grpc

from client import errors
from client.connection import Connection
from client.errors import ClientError

J = TypeVar("J")
R = TypeVar("R")

# Calls at once.
_INITIAL_SIZE, _MAX_SIZE = 8, 48
# When a service that does not answer is given up; until then pauses grow to the longest.
_GIVE_UP_AFTER_S = 30.0
_LONGEST_PAUSE_S = 5.0
# Errors that every other call would get too.
_CODES_FOR_ALL = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
)
_REASONS_FOR_ALL = ("CUSTOMER_LIMIT_REACHED",)
_FOR_ONE_ADDRESS = "MAIL_PER_ADDRESS_H"


class Window(Generic[J, R]):
    """Makes calls in threads, and hands what came of each to one function, in the caller's thread.

    The window grows by one for as many answers as it has calls, and is halved when the service says
    that it is too much. What the service asks to be repeated later is, after the time it names.
    """

    def __init__(
        self,
        connection: Connection,
        call: Callable[[J], R],
        done: Callable[[J, R | grpc.RpcError], None],
        on_wait: Callable[[str], None],
        *,
        changes: bool,
    ) -> None:
        """`on_wait` gets what all calls wait for, and "" when they go on.

        `changes`: the calls change something, so after a stop the answers of those in flight are awaited.
        """
        self._connection = connection
        self._call = call
        self._done = done
        self._on_wait = on_wait
        self._changes = changes
        self._size = float(_INITIAL_SIZE)
        self._in_flight = 0
        self._threads = 0
        self._jobs: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        # None wakes who waits for one.
        self._answers: queue.SimpleQueue[tuple[J, float, R | BaseException] | None] = (
            queue.SimpleQueue()
        )
        self._is_stopped = False
        # No call is made before this time.
        self._not_before_s = 0.0
        # Jobs to repeat: from when on, and in which order of those with one time.
        self._later: list[tuple[float, int, J]] = []
        self._repeats = 0
        # Since when nothing but failures comes, and how many.
        self._failing_since_s: float | None = None
        self._failures = 0
        # When the latest token was asked for; no answer has shown yet that it is taken.
        self._renewed_s: float | None = None
        self._said = ""

    def run(self, jobs: Iterator[J]) -> None:
        """Makes all calls; after Ctrl-C or a ClientError the answers of those in flight are taken."""
        try:
            with self._stopped_between_answers():
                while not self._is_stopped and self._hand_out(jobs):
                    self._take_answer()
            if self._is_stopped:
                raise KeyboardInterrupt
        except (KeyboardInterrupt, ClientError):
            self._drain()
            raise
        finally:
            for _ in range(self._threads):
                self._jobs.put(None)

    @contextlib.contextmanager
    def _stopped_between_answers(self) -> Iterator[None]:
        """Has Ctrl-C stop the run where all calls are counted: else one more could be waited for."""
        obeyed = signal.getsignal(signal.SIGINT)
        if obeyed is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, obeyed)

    def _stop(self, *_: object) -> None:
        self._is_stopped = True
        self._answers.put(None)

    def _drain(self) -> None:
        if not self._changes:
            return
        if self._in_flight:
            self._tell("stopping: waiting for the answers to what was sent")
        while self._in_flight:
            taken = self._answers.get()
            if taken is None:
                continue
            job, _, answer = taken
            self._in_flight -= 1
            if not isinstance(answer, BaseException):
                # What stopped all may be that results can't be written.
                with contextlib.suppress(ClientError):
                    self._done(job, answer)

    def _hand_out(self, jobs: Iterator[J]) -> bool:
        """Hands out jobs while there is room; tells whether there is anything left to wait for."""
        now = time.monotonic()
        while self._in_flight < int(self._size) and now >= self._not_before_s:
            if self._later and self._later[0][0] <= now:
                job: J | None = heapq.heappop(self._later)[2]
            else:
                job = next(jobs, None)
            if job is None:
                break
            if self._threads <= self._in_flight:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()
            self._in_flight += 1
            self._jobs.put(job)
        return bool(self._in_flight or self._later)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            began_s = time.monotonic()
            try:
                self._answers.put((job, began_s, self._call(job)))
            except BaseException as error:
                self._answers.put((job, began_s, error))

    def _take_answer(self) -> None:
        """Takes an answer, or waits until calls can be made again."""
        left_s = self._next_s() - time.monotonic()
        wait_s = None if self._in_flight and left_s <= 0 else max(left_s, 0.0)
        try:
            taken = self._answers.get(timeout=wait_s)
        except queue.Empty:
            return
        if taken is None:
            return
        job, began_s, answer = taken
        self._in_flight -= 1
        if isinstance(answer, grpc.RpcError):
            if self._settle_failure(job, began_s, answer):
                self._answered()
                self._done(job, answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            self._answered()
            self._done(job, answer)

    def _answered(self) -> None:
        self._failing_since_s, self._failures, self._renewed_s = None, 0, None
        self._size = min(_MAX_SIZE, self._size + 1 / self._size)
        self._tell("")

    def _next_s(self) -> float:
        """Returns when more can be called than now."""
        return max(self._not_before_s, self._later[0][0] if self._later else 0.0)

    def _tell(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            self._on_wait(reason)

    def _settle_failure(self, job: J, began_s: float, error: grpc.RpcError) -> bool:
        """Has the job repeated, and returns False; True if the failure is its own and stays.

        Raises ClientError for what stops all calls.
        """
        code, details = error.code(), errors.details(error)
        now = time.monotonic()
        if code is grpc.StatusCode.UNAUTHENTICATED and self._has_new_token(began_s):
            self._repeat(job, now)
            return False
        for_all = code in _CODES_FOR_ALL or details.reason in _REASONS_FOR_ALL
        if for_all or errors.is_untrusted(error):
            raise errors.of_call(error, self._connection.endpoint)
        wait_s = details.retry_s
        if code in errors.AWAY_CODES:
            self._failing_since_s = self._failing_since_s or now
            self._failures += 1
            if now - self._failing_since_s > _GIVE_UP_AFTER_S:
                raise errors.of_call(error, self._connection.endpoint)
            wait_s = wait_s or min(_LONGEST_PAUSE_S, 0.1 * 2 ** min(self._failures, 6))
        if wait_s is None:
            return True
        self._repeat(job, now + wait_s)
        if details.metadata.get("limit") == _FOR_ONE_ADDRESS and self._in_flight:
            return False
        if now >= self._not_before_s:
            # Once for all that were in flight at that time.
            self._size = max(1.0, self._size / 2)
        self._not_before_s = max(self._not_before_s, now + wait_s)
        if wait_s >= 1:
            until = (
                f" until {datetime.now(UTC).astimezone() + timedelta(seconds=wait_s):%H:%M}"
                if wait_s > 60
                else ""
            )
            self._tell(f"waiting{until}: {errors.description(error, self._connection.endpoint)}")
        return False

    def _has_new_token(self, began_s: float) -> bool:
        """Tells whether a call whose token was refused can be repeated with another one."""
        if self._renewed_s is None:
            can_renew = self._connection.renew()
            # Calls that began before had the old one.
            self._renewed_s = time.monotonic()
            return can_renew
        return began_s < self._renewed_s

    def _repeat(self, job: J, at_s: float) -> None:
        self._repeats += 1
        heapq.heappush(self._later, (at_s, self._repeats, job))
