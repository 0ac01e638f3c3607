"""A reseller's customers, and how they become active or suspended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from server.domain import ids
from server.domain.access import Actor
from server.domain.addresses import address_key
from server.domain.errors import BillingError, Reason
from server.domain.filters import Filter, Value
from server.domain.operations import Operation, OperationKind

NO_LABELS: Mapping[str, str] = {}
# How long a deleted customer can be undeleted.
PURGE_AFTER = timedelta(days=30)


class CustomerState(StrEnum):
    """States as the published documentation names them."""

    ACCEPTANCE_REQUIRED = "acceptance_required"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"
    # Until it is undeleted, or purged; then it is as it was before.
    DELETED = "deleted"


# The state that an operation gives a customer. Activating an active one succeeds; so for suspending.
TARGETS: Mapping[OperationKind, CustomerState] = {
    OperationKind.ACTIVATE: CustomerState.ACTIVE,
    OperationKind.SUSPEND: CustomerState.SUSPENDED,
}
_CHANGEABLE = frozenset(TARGETS.values())


class Customer(NamedTuple):
    """`person` holds the fields of the published CustomerPerson that were set, by proto name.

    `email` is the address that the customer was invited at, None if it was not invited.
    `external_id` is what its reseller calls it.
    """

    id: str
    reseller_id: str
    billing_account_id: str
    name: str
    person: dict[str, str]
    email: str | None
    state: CustomerState
    created_at: datetime
    modified_at: datetime
    external_id: str | None = None
    labels: Mapping[str, str] = NO_LABELS
    deleted_at: datetime | None = None

    @property
    def purge_at(self) -> datetime | None:
        """When a deleted one is removed for good, or somewhat later."""
        return self.deleted_at and self.deleted_at + PURGE_AFTER

    def value_of(self, field: str) -> Value | None:
        """Returns what a filter compares; addresses as `address_key` has them.

        Texts that were not given are empty, but for the address and for labels.
        """
        container, _, key = field.partition(".")
        match container:
            case "state":
                return self.state
            case "displayName":
                return self.name
            case "email":
                return self.email and address_key(self.email)
            case "externalId":
                return self.external_id or ""
            case "billingAccountId":
                return self.billing_account_id
            case "labels":
                return self.labels.get(key) if key else bool(self.labels) or None
            case "person":
                return self.person.get(key, "")
            case "createTime":
                return self.created_at
            case "updateTime":
                return self.modified_at
            case "deleteTime":
                return self.deleted_at
        raise LookupError(f"customers have no field {field}")


class CustomerList(NamedTuple):
    """Which customers of a reseller to list, and in which order.

    filter_: a condition on what `Customer.value_of` returns.
    """

    reseller_id: str
    filter_: Filter | None = None
    show_deleted: bool = False
    oldest_first: bool = False


class NewCustomer(NamedTuple):
    """All that one CreateResellerServed records, in one transaction."""

    operation: Operation
    customer: Customer
    actor: Actor


def create_reseller_served(
    *,
    reseller_id: str,
    name: str,
    person: dict[str, str],
    actor: Actor,
    now: datetime,
    external_id: str | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> NewCustomer:
    """Makes the records of a customer that its reseller serves: active at once. Their IDs end alike."""
    ending = ids.new_ending()
    customer = Customer(
        id=ids.CUSTOMER + ending,
        reseller_id=reseller_id,
        billing_account_id=ids.BILLING_ACCOUNT + ending,
        name=name,
        person=person,
        email=None,
        state=CustomerState.ACTIVE,
        created_at=now,
        modified_at=now,
        external_id=external_id,
        labels=dict(labels),
    )
    kind = OperationKind.CREATE_RESELLER_SERVED
    operation = operation_on(customer, ids.OPERATION + ending, kind, actor.subject, now, done=True)
    return NewCustomer(operation, customer, actor)


def finished_operation(
    kind: OperationKind, customer: Customer, created_by: str, now: datetime
) -> Operation:
    """Makes the record of an operation that is over as soon as it is durable."""
    return operation_on(customer, ids.new_id(ids.OPERATION), kind, created_by, now, done=True)


def operation_on(
    customer: Customer,
    id_: str,
    kind: OperationKind,
    created_by: str,
    now: datetime,
    *,
    done: bool,
) -> Operation:
    """Makes the record of a new operation on a customer."""
    return Operation(
        id=id_,
        kind=kind,
        reseller_id=customer.reseller_id,
        customer_id=customer.id,
        billing_account_id=customer.billing_account_id,
        created_by=created_by,
        created_at=now,
        modified_at=now,
        done=done,
    )


def state_after(kind: OperationKind, customer_id: str, state: CustomerState) -> CustomerState:
    """Returns the state that an operation of this kind leads to.

    Raises CUSTOMER_STATE, with metadata `state` and `customerId`, where it can't be done.
    """
    if state not in _CHANGEABLE:
        raise BillingError(
            Reason.CUSTOMER_STATE,
            f"The customer's state is {state}; only an active or a suspended customer can be "
            "activated or suspended.",
            metadata={"customerId": customer_id, "state": state.value},
        )
    return TARGETS[kind]
