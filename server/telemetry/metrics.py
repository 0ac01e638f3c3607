"""The metrics of a process: each is named here, once; docs/operators/metrics.md lists them.

What is counted for every call or batch are plain numbers, made into metrics when somebody asks: the
library's own counters take a lock each time. No label has a value that callers choose.
"""

import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# Without the times at which each began to be counted, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
# What `render` makes: Prometheus's text format.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds: a call takes some milliseconds; past 15 the gateway gives it up.
_TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_LONG_TIMES = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Distribution:
    """How often numbers fell between bounds; the plain form of a histogram."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Counts a number."""
        self.total += value
        self.counts[bisect_left(self._bounds, value)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Returns the buckets as a histogram has them: each with all that are below its bound."""
        bounds = [*map(float, self._bounds), "+Inf"]
        return [
            (str(bound), float(count))
            for bound, count in zip(bounds, accumulate(self.counts), strict=True)
        ]


class MethodCalls:
    """The calls of one method that have ended: by gRPC code, and how long they took in seconds."""

    __slots__ = ("codes", "times")

    def __init__(self) -> None:
        self.codes: defaultdict[int, int] = defaultdict(int)
        self.times = Distribution(_TIMES)

    def ended(self, code: int, seconds: float) -> None:
        """Counts a call."""
        self.codes[code] += 1
        self.times.add(seconds)


class Batches:
    """The transactions of one of the storage's queues: counted by the threads that run them.

    requests: of each transaction, in one batch; times: from its begin to after its commit, seconds.
    """

    __slots__ = ("requests", "times")

    def __init__(self) -> None:
        self.requests = Distribution(_SIZES)
        self.times = Distribution(_TIMES)

    def ended(self, requests: int, seconds: float) -> None:
        """Counts a transaction."""
        self.requests.add(requests)
        self.times.add(seconds)


CALLS: dict[str, MethodCalls] = {}
BATCHES: dict[str, Batches] = {}
CODE_NAMES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]


def calls_of(method: str) -> MethodCalls:
    """Returns what counts the calls of a method, given by its full name."""
    return CALLS.setdefault(method, MethodCalls())


def batches_of(queue: str) -> Batches:
    """Returns what counts the transactions of a queue."""
    return BATCHES.setdefault(queue, Batches())


class _Plain(Collector):
    """Makes metrics of the plain numbers."""

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "billing_calls", "Calls that have ended.", labels=("method", "code")
        )
        times = HistogramMetricFamily(
            "billing_call_duration_seconds", "How long calls took.", labels=("method",)
        )
        for method, counted in list(CALLS.items()):
            for code, count in list(counted.codes.items()):
                calls.add_metric((method, CODE_NAMES[code]), count)
            if counted.codes:
                times.add_metric((method,), counted.times.buckets(), counted.times.total)
        yield calls
        yield times
        requests = HistogramMetricFamily(
            "billing_database_batch_requests",
            "Requests that shared a transaction.",
            labels=("queue",),
        )
        times = HistogramMetricFamily(
            "billing_database_transaction_duration_seconds",
            "How long transactions took, their commits among it.",
            labels=("queue",),
        )
        for queue, batches in list(BATCHES.items()):
            requests.add_metric((queue,), batches.requests.buckets(), batches.requests.total)
            times.add_metric((queue,), batches.times.buckets(), batches.times.total)
        yield requests
        yield times


# A gauge's values when somebody asks, by its labels' values.
Read = Callable[[], Mapping[tuple[str, ...], float]]


class _Live(Collector):
    """Metrics whose values something else knows; each is registered by name, and the latest holds."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Any, Read]] = {}

    def add(self, make: Callable[[], Any], read: Read) -> None:
        self._read[make().name] = make, read

    def collect(self) -> Iterator[Metric]:
        for make, read in list(self._read.values()):
            family = make()
            for labels, value in read().items():
                family.add_metric(labels, value)
            yield family


_LIVE = _Live()


def gauge(name: str, meaning: str, labels: Iterable[str], read: Read) -> None:
    """Registers a gauge that is read when somebody asks."""
    labels = tuple(labels)
    _LIVE.add(lambda: GaugeMetricFamily(name, meaning, labels=labels), read)


def counter(name: str, meaning: str, labels: Iterable[str], read: Read) -> None:
    """Registers a counter that is read when somebody asks; its name gets `_total`."""
    labels = tuple(labels)
    _LIVE.add(lambda: CounterMetricFamily(name, meaning, labels=labels), read)


DATABASE_ERRORS = Counter(
    "billing_database_errors", "Errors of the database.", ["class"], registry=REGISTRY
)
EVENTS = Counter(
    "billing_events",
    "Events of resellers' logs that were written, such as invitation.accepted.",
    ["type"],
    registry=REGISTRY,
)
MAILS = Counter(
    "billing_mails",
    "Tries to send an invitation's e-mail, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
MAIL_TIMES = Histogram(
    "billing_mail_attempt_duration_seconds",
    "How long tries to send an e-mail took.",
    buckets=_LONG_TIMES,
    registry=REGISTRY,
)
MAIL_WAITS = Histogram(
    "billing_mail_delay_seconds",
    "From the call that asked for an e-mail until the mail server had taken it.",
    buckets=(0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0, 432000.0),
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "billing_webhook_attempts",
    "Tries to deliver an event to a webhook, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
DELIVERY_TIMES = Histogram(
    "billing_webhook_attempt_duration_seconds",
    "How long tries to deliver an event took.",
    buckets=_LONG_TIMES,
    registry=REGISTRY,
)
TOKENS_ISSUED = Counter("billing_tokens_issued", "IAM tokens that were made.", registry=REGISTRY)
TOKENS_CHECKED = Counter(
    "billing_tokens_checked",
    "Tokens that were looked up because no call had lately brought them.",
    ["outcome"],
    registry=REGISTRY,
)
LOOP_DELAY = Histogram(
    "billing_event_loop_delay_seconds",
    "How late the event loop came to what was due.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
    registry=REGISTRY,
)

# So that rates are there from the first one on.
for _outcome in ("sent", "refused", "put_off", "given_up"):
    MAILS.labels(_outcome)
for _outcome in ("delivered", "failed"):
    DELIVERIES.labels(_outcome)
for _outcome in ("accepted", "refused"):
    TOKENS_CHECKED.labels(_outcome)


def build_info(version: str, role: str) -> None:
    """Tells which release this is, and what the process does: server, worker, gateway or bounces."""
    labels = ("version", "role", "python")
    values = (version, role, platform.python_version())
    gauge("billing_build_info", "The release, always 1.", labels, lambda: {values: 1})


def render() -> bytes:
    """Returns all metrics in Prometheus's text format."""
    return generate_latest(REGISTRY)


REGISTRY.register(_Plain())
REGISTRY.register(_LIVE)
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
