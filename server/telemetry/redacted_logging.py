"""Exceptions for the log, without what they say: that may be somebody's name or address."""

import logging
import traceback

from server.domain.errors import BillingError


def trace(error: BaseException) -> str:
    """Returns the types and call stacks of the exception and of those that led to it."""
    parts = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        stack = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"{type(cause).__module__}.{type(cause).__qualname__}\n{stack}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "because of ".join(parts)


def described(what: str, error: Exception) -> tuple[int, str]:
    """Returns level and text of what went wrong: a refusal's reason, or anything else's trace."""
    if isinstance(error, BillingError):
        return logging.WARNING, f"{what}: {error.reason}"
    return logging.ERROR, f"{what}: {trace(error)}"


def log_failure(log: logging.Logger, what: str, error: Exception) -> None:
    """Logs what went wrong."""
    level, text = described(what, error)
    log.log(level, "%s", text)
