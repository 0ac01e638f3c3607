"""All streams of a process: who shares a feed, who may go on, who is too slow, and the end of all."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial

from server.domain.access import Permission, Subject
from server.domain.errors import BillingError, Reason
from server.rpc.messages import resource_names as names
from server.rpc.messages.events import parse_event_filter
from server.rpc.pipeline.authentication import Authenticator
from server.rpc.pipeline.availability import Availability
from server.rpc.pipeline.call_context import CallContext
from server.rpc.pipeline.concurrency import RoundRobin
from server.rpc.pipeline.errors import call_status
from server.rpc.streams.encodings import Encoding
from server.rpc.streams.feed import broken
from server.rpc.streams.feeds import Feeds
from server.rpc.streams.stream import Stream, deadline_exceeded, stopping
from server.telemetry.failure_log import FailureLog
from server.use_cases.events import LATEST, Events

_Look = Callable[[], Awaitable[None]]

_FAILURES = FailureLog(logging.getLogger(__name__))

# Streams that read the log by themselves at the same time.
_READERS = 2
# Proofs of identity are remembered for four seconds at most. So a right that is taken away ends a stream
# within five: one look finds it, the next breaks off a reader that takes nothing.
_LOOK_EVERY_S = 0.5
_CHECKS_AT_ONCE = 64
# Streams that are woken before other calls have their turn.
_WOKEN_IN_TURN = 32
_LAST_READ_S = 1.0
# A right that can't be proved for so long ends its streams.
_LONGEST_UNPROVED_S = 5.0
# A stream with a deadline ends this long before it, so that its end arrives; or when half of the time has
# passed that a caller in a greater hurry has.
_BEFORE_DEADLINE_S = 0.25
_PASSING = (Reason.STORAGE_UNAVAILABLE, Reason.OVERLOADED)


class Streams:
    """Opens streams of events and keeps an eye on them."""

    def __init__(
        self, events: Events, authenticator: Authenticator, availability: Availability
    ) -> None:
        self._events = events
        self._authenticator = authenticator
        self._availability = availability
        self._feeds = Feeds(events)
        # What proved the caller of each.
        self._streams: dict[Stream, str] = {}
        # Since when proofs can't be looked at.
        self._unproved: dict[str, float] = {}
        self._turns = RoundRobin(_READERS)
        self._looking: dict[_Look, asyncio.Task[None]] = {}
        self._has_stopped = False

    async def send(
        self,
        call: CallContext,
        reseller_id: str,
        after: str,
        filter_: str,
        encoding: Encoding,
        *,
        position_field: str = "after",
    ) -> None:
        """Sends events after the one that `after` names until the caller goes; raises why it ends.

        `position_field` is where the caller has written that. Where the encoding has errors, one that
        comes after the first message is sent.
        """
        if self._availability.refusal:  # it may have waited for its turn
            raise self._availability.refusal
        caller = call.caller
        condition = parse_event_filter(filter_, reseller_id)
        given = names.bare_id(after, reseller_id, names.EVENTS)
        position = await self._events.position(caller, reseller_id, given, position_field)
        last = await self._events.position(caller, reseller_id, LATEST)
        if self._has_stopped:
            raise stopping()
        stream = Stream(caller.id, reseller_id, position, condition, encoding, call.write)
        feed = self._feeds.follow(reseller_id, last, stream)
        self._streams[stream] = call.authorization
        for look in (self._look_at_each, self._check_rights):
            if look not in self._looking:
                self._looking[look] = asyncio.create_task(self._keep(look))
        ending = _end_in_time(stream, call.time_left_s)
        try:
            read = partial(self._events.read, reseller_id)
            await stream.run(feed, read, self._turns, call.has_begun)
        except BillingError as error:
            if not stream.has_begun:
                raise
            error = _with_position(error, stream)
            message = encoding.error(call_status(error, call.request_id, json_names=True))
            if message is None:
                raise error from None
            await stream.tell(message, error)
        finally:
            if ending:
                ending.cancel()
            del self._streams[stream]
            await self._feeds.leave(reseller_id, feed, stream)

    async def stop(self) -> None:
        """Ends all streams with SERVER_STOPPING, after the last event that there is; opens no more."""
        self._has_stopped = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_READ_S):
                await self._feeds.catch_up()
        for stream in list(self._streams):
            stream.finish()

    async def _keep(self, look: _Look) -> None:
        """Looks again and again while there are streams."""
        while self._streams:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await look()
            except Exception as error:
                _FAILURES.tell_error("streams can't be looked at", error)
        del self._looking[look]

    async def _look_at_each(self) -> None:
        """Ends those whose reader is too slow, and has those tell their position that are to."""
        for stream in self._streams:
            stream.look_at_speed()
        beating = [stream for stream in self._streams if stream.needs_heartbeat]
        for turn, stream in enumerate(beating, start=1):
            stream.wake()
            if turn % _WOKEN_IN_TURN == 0:
                await asyncio.sleep(0)

    async def _check_rights(self) -> None:
        """Ends those whose caller may read no longer."""
        proofs = list(set(self._streams.values()))
        found: dict[str, Subject | BaseException] = {}
        unknown: list[str] = []
        for proof in proofs:
            subject = self._authenticator.cached_subject(proof)
            if subject:
                found[proof] = subject
            else:
                unknown.append(proof)
        for start in range(0, len(unknown), _CHECKS_AT_ONCE):
            some = unknown[start : start + _CHECKS_AT_ONCE]
            proving = map(self._authenticator.authenticate, some)
            found |= zip(some, await asyncio.gather(*proving, return_exceptions=True), strict=True)
        now = asyncio.get_running_loop().time()
        self._unproved = {
            proof: self._unproved.get(proof, now)
            for proof, outcome in found.items()
            if _may_pass(outcome)
        }
        for stream, proof in list(self._streams.items()):
            outcome = found.get(proof)
            if now - self._unproved.get(proof, -math.inf) < _LONGEST_UNPROVED_S:
                continue
            try:
                if isinstance(outcome, Subject):
                    outcome.require(Permission.READ, stream.reseller_id)
                elif isinstance(outcome, BillingError):
                    stream.end(outcome)
                elif isinstance(outcome, Exception):
                    _FAILURES.tell_error("the rights of a stream can't be checked", outcome)
                    stream.end(broken())
            except BillingError as error:
                stream.end(error)


def _end_in_time(stream: Stream, left_s: float | None) -> asyncio.TimerHandle | None:
    """Has a stream end before its call's deadline, if there is one."""
    if left_s is None:
        return None
    loop = asyncio.get_running_loop()
    # Its reader may take as long as the deadline lets it.
    end = partial(stream.end, deadline_exceeded(), at_once=False)
    return loop.call_later(_goes_on_for_s(left_s), end)


def _goes_on_for_s(left_s: float) -> float:
    return max(left_s - _BEFORE_DEADLINE_S, left_s / 2)


def _may_pass(outcome: Subject | BaseException) -> bool:
    """Tells whether a proof failed for no fault of the caller's."""
    if isinstance(outcome, BillingError):
        return outcome.reason in _PASSING
    return not isinstance(outcome, Subject)


def _with_position(error: BillingError, stream: Stream) -> BillingError:
    return BillingError(
        error.reason,
        error.message,
        metadata=error.metadata | {"position": stream.position},
        fields=error.fields,
        resource=error.resource,
        retry_after_s=error.retry_after_s,
    )
