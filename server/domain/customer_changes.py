"""What a reseller changes of its customers, and when that is refused."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from server.domain.customers import Customer, CustomerState
from server.domain.errors import (
    BillingError,
    FieldViolation,
    Reason,
    Resource,
    invalid_field,
    invalid_fields,
)
from server.domain.labels import label_faults

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class CustomerChanges(NamedTuple):
    """What to set; None leaves a field as it is.

    name: the display name, which is never empty.
    email: the address in normal form; another than the customer's is refused.
    person: the fields to set, "" for those to be taken away.
    external_id: "" takes it away.
    labels: all of them; or `some_labels`, of which None takes one away.
    """

    name: str | None = None
    email: str | None = None
    person: Mapping[str, str] = {}
    external_id: str | None = None
    labels: Mapping[str, str] | None = None
    some_labels: Mapping[str, str | None] = {}


def check_changes(changes: CustomerChanges) -> None:
    """Raises FIELDS_INVALID that names all of what can't be set."""
    wrong: list[FieldViolation] = []
    if changes.name == "":
        wrong.append(FieldViolation("customer.display_name", "Required."))
    given = {key: value for key, value in changes.some_labels.items() if value is not None}
    wrong += label_faults("customer.labels", {**(changes.labels or {}), **given})
    if wrong:
        raise invalid_fields(*wrong)


def changed(customer: Customer, changes: CustomerChanges, now: datetime) -> Customer:
    """Returns what changes that have been checked make of a customer; itself if that is nothing.

    Raises FIELDS_INVALID for another address, and for too many labels.
    """
    if changes.email is not None and changes.email != (customer.email or ""):
        raise invalid_field(
            "customer.email",
            "Can't be changed: it is where the customer was invited. Leave it out, or invite anew.",
        )
    labels = customer.labels if changes.labels is None else changes.labels
    if changes.some_labels:
        all_ = {**labels, **changes.some_labels}
        labels = {key: value for key, value in all_.items() if value is not None}
        if wrong := label_faults("customer.labels", labels):
            raise invalid_fields(*wrong)
    external_id = customer.external_id
    if changes.external_id is not None:
        external_id = changes.external_id or None
    person = {**customer.person, **changes.person}
    after = customer._replace(
        name=customer.name if changes.name is None else changes.name,
        person={name: value for name, value in person.items() if value},
        external_id=external_id,
        labels=dict(labels),
    )
    return customer if after == customer else after._replace(modified_at=_next(customer, now))


def deleted(customer: Customer, now: datetime) -> Customer:
    """Returns the customer as it is once it is deleted."""
    at = _next(customer, now)
    return customer._replace(state=CustomerState.DELETED, modified_at=at, deleted_at=at)


def _next(customer: Customer, now: datetime) -> datetime:
    """Returns the time of a change: after the last one, whatever the clocks say."""
    return max(now, customer.modified_at + _MICROSECOND)


def etag(customer: Customer) -> str:
    """Returns what names this version of a customer: no two changes of it have the same time."""
    changed_at = (customer.modified_at - _EPOCH) // _MICROSECOND
    return f'"{customer.id[-6:]}{changed_at:x}"'


def require_etag(customer: Customer, wanted: str) -> None:
    """Raises ETAG_STALE unless an etag, if given, is the customer's."""
    current = etag(customer)
    if wanted and wanted.strip('"') != current.strip('"'):
        raise BillingError(
            Reason.ETAG_STALE,
            "The customer has changed since it was read; read it again, then send its new etag.",
            metadata={"customerId": customer.id, "etag": current},
        )


def require_living(customer: Customer) -> None:
    """Raises CUSTOMER_STATE for a deleted customer."""
    if customer.state is CustomerState.DELETED:
        raise BillingError(
            Reason.CUSTOMER_STATE,
            "The customer is deleted; undelete it first.",
            metadata={"customerId": customer.id, "state": customer.state.value},
        )


def require_not_erased(customer: Customer) -> None:
    """Raises CUSTOMER_ERASED for one that an operator has erased: all others have a name."""
    if not customer.name:
        raise BillingError(
            Reason.CUSTOMER_ERASED,
            "The customer was erased by those who run the service, and takes no data any more; forget "
            "it, or create or invite a new one.",
            metadata={"customerId": customer.id},
        )


def not_deleted(customer: Customer) -> BillingError:
    """Returns the refusal to undelete a customer that is there."""
    return BillingError(
        Reason.CUSTOMER_NOT_DELETED,
        "The customer is not deleted.",
        metadata={"customerId": customer.id, "state": customer.state.value},
        resource=Resource("billing.v1.Customer", _name(customer.reseller_id, customer.id)),
    )


def external_id_taken(reseller_id: str, external_id: str, holder_id: str) -> BillingError:
    """Returns the refusal of an external ID that another living customer of the reseller has."""
    name = _name(reseller_id, holder_id)
    return BillingError(
        Reason.EXTERNAL_ID_TAKEN,
        f"{name} has this external ID; take another, or delete that customer.",
        metadata={"externalId": external_id, "customerId": holder_id, "customer": name},
        resource=Resource("billing.v1.Customer", name),
    )


def address_taken(reseller_id: str, holder_id: str) -> BillingError:
    """Returns the refusal to undelete a customer whose address another one has been invited at."""
    name = _name(reseller_id, holder_id)
    return BillingError(
        Reason.ADDRESS_TAKEN,
        f"{name} has been invited at the same address, for the same tax number, since this one was "
        "deleted; delete that customer first.",
        metadata={"customerId": holder_id, "customer": name},
        resource=Resource("billing.v1.Customer", name),
    )


def _name(reseller_id: str, customer_id: str) -> str:
    return f"resellers/{reseller_id}/customers/{customer_id}"
