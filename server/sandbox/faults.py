"""Faults on purpose: a header has one call fail, in the form that production would give it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from server.domain.errors import BillingError, FieldViolation, Reason
from server.rpc.pipeline.availability import Availability
from server.rpc.pipeline.call_context import CallContext
from server.rpc.pipeline.rate_limit import rate_exceeded

HEADER = "x-sandbox-fault"
# A fault with this prefix fails the call once its work is done.
_DONE = "done-"


def _unavailable(_: float) -> Exception:
    database = Availability()
    database.set(False)
    assert database.refusal  # noqa: S101 - just set
    return database.refusal


def _deadline(_: float) -> Exception:
    return BillingError(Reason.DEADLINE_EXCEEDED, "The service did not answer in time.")


def _rate(calls_per_s: float) -> Exception:
    return rate_exceeded(calls_per_s, retry_after_s=1.0)


def _internal(_: float) -> Exception:
    return RuntimeError("a fault that the caller asked for")


_FAULTS: Mapping[str, Callable[[float], Exception]] = {
    "unavailable": _unavailable,
    "deadline": _deadline,
    "rate": _rate,
    "internal": _internal,
}


class FaultyServicer:
    """A servicer whose calls fail as the header asks."""

    def __init__(self, servicer: object, calls_per_s: float) -> None:
        """`calls_per_s` is how many the service says that it allows."""
        self._servicer = servicer
        self._calls_per_s = calls_per_s
        self.checks = getattr(servicer, "checks", {})

    def __getattr__(self, name: str) -> Callable[[Any, CallContext], Awaitable[Any]]:
        run = getattr(self._servicer, name)

        async def run_or_fail(request: Any, call: CallContext) -> Any:
            asked = call.header(HEADER)
            if not asked:
                return await run(request, call)
            fault = _FAULTS.get(asked.removeprefix(_DONE))
            if fault is None:
                raise _unknown_fault()
            if asked.startswith(_DONE):
                await run(request, call)
            raise fault(self._calls_per_s)

        return run_or_fail


def _unknown_fault() -> BillingError:
    known = ", ".join([*_FAULTS, *(_DONE + each for each in _FAULTS)])
    return BillingError(
        Reason.FIELDS_INVALID,
        "Some headers are invalid.",
        fields=[FieldViolation(HEADER, f"Must be one of {known}.")],
    )
