"""Traces: what a call leads to, as OpenTelemetry's spans, sent by OTLP over HTTP.

Off unless configured, and the libraries are not imported then. Spans hold methods, codes and our IDs;
nothing that a caller wrote.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server.telemetry.failure_log import FailureLog
from server.telemetry.origins import TRACEPARENT, joined

_HEADER = "traceparent"
# Calls whose place in a trace is remembered for the events that they bring about.
_MOST_CALLS = 10_000


class Traces:
    """Makes spans and sends them in the background; one that is away holds up nothing."""

    def __init__(self) -> None:
        self.on = False
        self._tracer: Any = None
        self._context: Any = None
        self._error: Any = None
        # By request ID, the oldest first.
        self._calls: dict[str, str | None] = {}

    def configure(self, url: str, version: str) -> None:
        """Has spans sent to a collector, given as `http://host:4318`."""
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource({"service.name": "billing", "service.version": version})
        provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        log = logging.getLogger("opentelemetry")
        log.handlers, log.propagate = [_Failures()], False
        self._tracer = provider.get_tracer("billing")
        self._context = TraceContextTextMapPropagator()
        self._error = trace.StatusCode.ERROR
        self.on = True

    def begin(self, name: str, traceparent: str | None) -> Any:
        """Begins a span below the one that a W3C traceparent names; the task's work is below it."""
        parent = self._context.extract({_HEADER: traceparent or ""})
        span = self._tracer.start_span(name, parent)
        TRACEPARENT.set(self._name(span))
        return span

    def begin_call(self, name: str, traceparent: str | None, request_id: str) -> Any:
        """Begins a call's span, and remembers it by the request's ID for `origin`."""
        span = self.begin(name, traceparent)
        self._calls.pop(request_id, None)
        self._calls[request_id] = TRACEPARENT.get()
        if len(self._calls) > _MOST_CALLS:
            del self._calls[next(iter(self._calls))]
        return span

    def origin(self, request_id: str) -> str:
        """Returns what is kept of a call of late with what it brought about, in any thread."""
        return joined(request_id, self._calls.get(request_id)) or request_id

    def end(self, span: Any, problem: str = "") -> None:
        """Ends a span; `problem` is a code or the name of an error's type."""
        if problem:
            span.set_status(self._error, problem)
        span.end()

    @contextmanager
    def span(self, name: str, traceparent: str | None, **ids: str) -> Iterator[None]:
        """A span as long as the block runs; nothing where traces are off or there is none above."""
        if not (self.on and traceparent):
            yield
            return
        span = self.begin(name, traceparent)
        for field, id_ in ids.items():
            span.set_attribute(f"billing.{field}", id_)
        problem = ""
        try:
            yield
        except BaseException as error:
            problem = type(error).__name__
            raise
        finally:
            self.end(span, problem)

    def _name(self, span: Any) -> str | None:
        """Returns the traceparent of what is below a span."""
        from opentelemetry import trace

        carrier: dict[str, str] = {}
        self._context.inject(carrier, trace.set_span_in_context(span))
        return carrier.get(_HEADER)


class _Failures(logging.Handler):
    """Tells of a collector that is away once, and then in summaries; its words hold addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._failures = FailureLog(logging.getLogger(__name__))

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self._failures.tell("traces are not taken by BILLING_TRACES_URL")


TRACES = Traces()
