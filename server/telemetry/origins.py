"""Which call a piece of work comes from: kept with it, so that the worker's log lines name that call."""

import contextvars

# The W3C trace context of the call that the task answers, None where no traces are made.
TRACEPARENT: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "traceparent", default=None
)


def origin(request_id: str | None) -> str | None:
    """Returns what is kept of the call that the task answers: its ID and, in a trace, its place there."""
    return joined(request_id, TRACEPARENT.get())


def joined(request_id: str | None, traceparent: str | None) -> str | None:
    """Returns what is kept of a call, given by its ID and its place in a trace."""
    return f"{request_id or ''} {traceparent}" if traceparent else request_id


def parts(kept: str | None) -> tuple[str | None, str | None]:
    """Returns the ID and the trace context that `origin` was made of."""
    request_id, _, traceparent = (kept or "").partition(" ")
    return request_id or None, traceparent or None
