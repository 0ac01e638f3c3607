"""The one error that the service raises on purpose, and the reasons it knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a call or an operation failed; sent to callers as `google.rpc.ErrorInfo.reason`."""

    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    FIELDS_INVALID = "FIELDS_INVALID"
    IDEMPOTENCY_KEY_INVALID = "IDEMPOTENCY_KEY_INVALID"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    SIGNING_KEY_MISSING = "SIGNING_KEY_MISSING"
    PERMISSION_MISSING = "PERMISSION_MISSING"
    RESELLER_SUSPENDED = "RESELLER_SUSPENDED"
    RESELLER_REMOVED = "RESELLER_REMOVED"
    NOT_FOUND = "NOT_FOUND"
    INVITATION_OPEN = "INVITATION_OPEN"
    INVITATION_STATE = "INVITATION_STATE"
    INVITATION_HELD = "INVITATION_HELD"
    MAIL_LIMIT_REACHED = "MAIL_LIMIT_REACHED"
    CUSTOMER_LIMIT_REACHED = "CUSTOMER_LIMIT_REACHED"
    RESENT_TOO_SOON = "RESENT_TOO_SOON"
    OPERATION_RUNNING = "OPERATION_RUNNING"
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    CUSTOMER_STATE = "CUSTOMER_STATE"
    RECIPIENT_REFUSED = "RECIPIENT_REFUSED"
    SMTPUTF8_MISSING = "SMTPUTF8_MISSING"
    MAIL_UNDELIVERED = "MAIL_UNDELIVERED"
    RATE_EXCEEDED = "RATE_EXCEEDED"
    OVERLOADED = "OVERLOADED"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    METHOD_UNKNOWN = "METHOD_UNKNOWN"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field. `field` is its path as the caller wrote it: `person.email`."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Resource:
    """The thing that an error is about. `type` is a full message name."""

    type: str
    name: str


class BillingError(Exception):
    """A refusal that the caller is told about as it stands.

    `message` says what to do next and holds no personal data; `metadata` is for programs.
    `retry_after_s` is set where the same call may succeed later.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        fields: Sequence[FieldViolation] = (),
        resource: Resource | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.fields = tuple(fields)
        self.resource = resource
        self.retry_after_s = retry_after_s
