"""Headers that stand more than once in a call, with different values."""

from collections.abc import Collection, Iterable
from typing import Any

from server.domain.errors import BillingError, FieldViolation, Reason
from server.rpc.pipeline import idempotency

# Headers that must be given once, by their names on the wire.
_ONCE = {
    idempotency.HEADER: "Idempotency-Key",
    "authorization": "Authorization",
    "last-event-id": "Last-Event-ID",
}


def given_differently(sent: Iterable[tuple[str, Any]]) -> Collection[str]:
    """Returns the names of headers that stand more than once, with different values."""
    values: dict[str, Any] = {}
    return {name for name, value in sent if values.setdefault(name, value) != value}


def require_once(repeated: Collection[str], read_only: bool) -> None:
    """Raises FIELDS_INVALID for a header that must be given once: which of its values holds?

    An idempotency key of a call that changes nothing is ignored, however many there are; a request
    ID given twice is no ID.
    """
    wrong = [
        _ONCE[name]
        for name in sorted(repeated)
        if name in _ONCE and not (read_only and name == idempotency.HEADER)
    ]
    if wrong:
        raise BillingError(
            Reason.FIELDS_INVALID,
            "The request has headers that must be given once.",
            fields=[FieldViolation(name, "Must be given once.") for name in wrong],
        )
