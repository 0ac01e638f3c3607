"""Long-running operations: the record behind both operation services."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from server.domain.errors import Reason
from server.domain.filters import Value


class OperationKind(StrEnum):
    """What an operation does."""

    INVITE = "invite"
    RESEND = "resend"
    CREATE_RESELLER_SERVED = "create_reseller_served"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    UPDATE_ACCESS = "update_access"


DESCRIPTIONS = {
    OperationKind.INVITE: "Invite customer",
    OperationKind.RESEND: "Resend invitation",
    OperationKind.CREATE_RESELLER_SERVED: "Create reseller-served customer",
    OperationKind.ACTIVATE: "Activate customer",
    OperationKind.SUSPEND: "Suspend customer",
    OperationKind.UPDATE_ACCESS: "Update access bindings",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed, in the words of `BillingError`."""

    reason: Reason
    message: str
    metadata: dict[str, str]


class Deferral(NamedTuple):
    """Why an operation's e-mail has not gone out yet, and when it is tried again.

    `problem` is in our own words, with no personal data; `smtp_code` and `status` (enhanced, RFC
    3463) are of the mail server's reply, where there was one.
    """

    attempt: int
    problem: str
    next_attempt_at: datetime
    smtp_code: int | None = None
    status: str | None = None


class Operation(NamedTuple):
    """One operation. It succeeded if `done` and `failure` is None.

    It is on one customer; UPDATE_ACCESS is on the reseller's own billing account instead, and its
    `customer_id` is "".
    `deferral` is of the last attempt that failed, if any has.
    """

    id: str
    kind: OperationKind
    reseller_id: str
    customer_id: str
    billing_account_id: str
    created_by: str
    created_at: datetime
    modified_at: datetime
    done: bool
    failure: Failure | None = None
    deferral: Deferral | None = None

    def value_of(self, field: str) -> Value | None:
        """Returns what a filter compares."""
        match field:
            case "done":
                return self.done
            case "error":
                return self.failure is not None or None
            case "metadata.customer":
                return f"{self.reseller_id}/{self.customer_id}" if self.customer_id else None
            case "metadata.createTime":
                return self.created_at
        raise LookupError(f"operations have no field {field}")


CANCELLED = Failure(Reason.OPERATION_CANCELLED, "The operation was cancelled.", {})
