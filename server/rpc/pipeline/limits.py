"""What bounds the calls of one process."""

from server.domain.errors import BillingError, Reason
from server.rpc.pipeline.concurrency import ConcurrencyLimit, RoundRobin
from server.rpc.pipeline.message_reader import MessageReader
from server.rpc.pipeline.rate_limit import RateLimit
from server.telemetry import metrics

# A list of 1,000 rows takes as long as fifty other calls.
_LISTS_AT_ONCE = 4
# A change of a thousand roles takes as long as hundreds of other writes, in a transaction that others share.
_ROLE_CHANGES_AT_ONCE = 1
# Streams that begin at the same time: a caller's thousand would hold all other calls up.
STREAMS_OPENED_AT_ONCE = 4


class CallLimits:
    """The limits that all methods share. Anonymous calls are those without credentials."""

    def __init__(
        self,
        rate: RateLimit,
        max_calls: int,
        max_anonymous_calls: int,
        max_message_bytes: int,
        max_streams: int,
    ) -> None:
        self.rate = rate
        self.max_message_bytes = max_message_bytes
        self.max_anonymous_calls = max_anonymous_calls
        self.calls = ConcurrencyLimit(max_calls)
        self.waits = ConcurrencyLimit(max_calls)
        self.streams = ConcurrencyLimit(max_streams, _too_many_streams())
        self.lists = RoundRobin(_LISTS_AT_ONCE)
        self.role_changes = RoundRobin(_ROLE_CHANGES_AT_ONCE)
        self.stream_openings = RoundRobin(STREAMS_OPENED_AT_ONCE)
        self.reader = MessageReader(2 * max_calls)
        # Anonymous calls, streams that they hold open, and tokens that are being checked for the
        # first time.
        self.anonymous_calls = ConcurrencyLimit(max_anonymous_calls)
        self.anonymous_streams = ConcurrencyLimit(max_anonymous_calls)
        self.token_checks = ConcurrencyLimit(max_anonymous_calls)
        self.anonymous_reader = MessageReader(max_anonymous_calls)
        self._show()

    def _show(self) -> None:
        """Has metrics tell of the limits."""
        places = {
            "calls": self.calls,
            "waits": self.waits,
            "streams": self.streams,
            "anonymous_calls": self.anonymous_calls,
            "anonymous_streams": self.anonymous_streams,
            "token_checks": self.token_checks,
        }
        metrics.gauge(
            "billing_calls_in_work",
            "Calls in work at once, by the limit that they count for.",
            ["limit"],
            lambda: {(name,): limit.in_work for name, limit in places.items()},
        )
        refusing: dict[str, ConcurrencyLimit | RateLimit] = {**places, "rate": self.rate}
        metrics.counter(
            "billing_calls_refused",
            "Calls that were refused by a limit.",
            ["limit"],
            lambda: {(name,): limit.refused for name, limit in refusing.items()},
        )
        metrics.gauge(
            "billing_lists_waiting",
            "Lists that wait for their caller's turn.",
            (),
            lambda: {(): self.lists.waiting},
        )


def _too_many_streams() -> BillingError:
    return BillingError(
        Reason.STREAM_LIMIT_REACHED,
        "The server has as many streams open as it can bear, or as one caller may have; close some, "
        "or have one reader share what it reads.",
        retry_after_s=5.0,
    )
